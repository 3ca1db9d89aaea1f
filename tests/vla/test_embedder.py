"""What an agent sees of an observation through a frozen vision-language(-action) model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from silri.core.errors import BackboneFault, ConfigError, DataError, SpecError
from silri.core.specs import ArraySpec
from silri.vision.config import VisionConfig
from silri.vision.files import decode_sight, encode_sight
from silri.vision.sight import Sight
from silri.vla.config import VlaConfig
from tests.fakes.envs.cameras import ENCODER
from tests.fakes.models import backbones
from tests.fakes.models.backbones import ACTION, MODEL, AskedPoint

SPEC = AskedPoint().env_spec
WORDLESS = replace(SPEC, observation={k: a for k, a in SPEC.observation.items() if not a.is_text})
VLA = VlaConfig(model=MODEL, size=8)
BESIDE = replace(VLA, beside=True, instruction="go to the goal")


def rows(count=6):
    env, rng = AskedPoint(), np.random.default_rng(0)
    found = [env.reset(seed=1)[0]]
    while len(found) < count:
        found.append(env.step(rng.uniform(-1, 1, 4).astype(np.float32))[0])
    return [SPEC.validate_observation(row) for row in found]


def fitted(vla=VLA, spec=SPEC, **vision):
    sight = Sight(VisionConfig(encoder=ENCODER, size=5, **vision), spec, None, vla)
    sight.fit_rows([{key: row[key] for key in spec.observation} for row in rows()])
    return sight


def test_the_embedding_stands_in_place_of_frames_and_words():
    sight = fitted()
    assert sight.seen.observation == {
        "state": SPEC.observation["state"],
        "embedding": ArraySpec((8,), "float16"),
    }
    assert sight.cameras == ()
    seen = sight(rows()[2])
    assert sight.seen.validate_observation(seen).keys() == {"state", "embedding"}
    batch = {key: np.stack([row[key] for row in rows()]) for key in SPEC.observation}
    np.testing.assert_array_equal(sight.batch(batch)["embedding"][2], seen["embedding"])


def test_it_can_stand_beside_them():
    sight = fitted(replace(BESIDE, prior_action=True), WORDLESS)
    shapes = {key: array.shape for key, array in sight.seen.observation.items()}
    assert shapes == {
        "state": (4,), "front": (5,), "side": (5,), "embedding": (8,), "prior_action": (ACTION,),
    }  # fmt: skip
    row = {key: rows()[0][key] for key in WORDLESS.observation}
    assert sight.seen.validate_observation(sight(row))


def test_the_action_of_the_model_is_an_observation():
    sight = fitted(replace(VLA, prior_action=True))
    assert sight.seen.observation["prior_action"] == ArraySpec((ACTION,), "float32")
    inputs = sight._embedder(rows()[0])
    np.testing.assert_array_equal(sight(rows()[0])["prior_action"], inputs.action)


def test_each_observation_is_asked_about_once(monkeypatch):
    sight, calls = fitted(), []
    ask = sight._embedder.__class__.__call__
    monkeypatch.setattr(
        type(sight._embedder), "__call__", lambda self, row: calls.append(1) or ask(self, row)
    )
    for row in rows():
        sight(row)
    assert not calls  # it was fitted on them
    moved = {**rows()[0], "state": rows()[0]["state"] + np.float32(0.5)}
    told = {**rows()[0], "instruction": np.array("elsewhere", "<U24")}
    first, second = sight(moved)["embedding"], sight(told)["embedding"]
    assert len(calls) == 2  # state and words count as the pictures do
    assert not np.array_equal(first, second)
    sight(moved)
    assert len(calls) == 2


def test_a_second_sight_gives_the_same_bits():
    sight = fitted()
    data = encode_sight(sight)
    again = Sight(VisionConfig(), SPEC, None, VLA)
    decode_sight(again, data, "sight.safetensors", exact=True)
    for row in rows(9):
        np.testing.assert_array_equal(again(row)["embedding"], sight(row)["embedding"])


def _with(model="load", **changes):
    return replace(VLA, model=f"tests.fakes.models.backbones:{model}", **changes)


def test_another_model_size_or_question_is_refused_by_both_names():
    data = encode_sight(fitted())

    def decode(vla, exact=False):
        decode_sight(Sight(VisionConfig(), SPEC, None, vla), data, "sight", exact=exact)

    names = r"vision-language model 'fake, 40 numbers' \(\w{16}\); here is 'other, 40 numbers' "
    with pytest.raises(ConfigError, match=names + r"\(\w{16}\).*the section --vla"):
        decode(_with("load_other"))
    with pytest.raises(ConfigError, match="the vision-language model 'fake.*here is none"):
        decode_sight(Sight(VisionConfig(keep="frames"), WORDLESS), data, "sight")
    with pytest.raises(ConfigError, match="vision-language model 'fake.*here is 'fake"):
        decode(_with(prior_action=True))
    with pytest.raises(DataError, match=r"embedding/weights' .* \(40, 8\), not \(40, 9\)"):
        decode(_with(size=9))
    without = encode_sight(fitted(None, WORDLESS))
    seen_too = Sight(VisionConfig(encoder=ENCODER, size=5), WORDLESS, None, BESIDE)
    with pytest.raises(ConfigError, match="the vision-language model none; here is 'fake"):
        decode_sight(seen_too, without, "sight")


def test_the_last_bits_matter_to_a_resumption_alone():
    data = encode_sight(fitted())

    def decode(model, exact):
        sight = Sight(VisionConfig(), SPEC, None, _with(model))
        decode_sight(sight, data, "sight", exact=exact)

    decode("load_drifting", exact=False)
    message = "made with fake by numpy; here it runs by other torch.*a resumed run needs the same"
    with pytest.raises(ConfigError, match=message):
        decode("load_drifting", exact=True)
    with pytest.raises(ConfigError, match=r"differs by 0\.5 of its length: too much"):
        decode("load_far", exact=False)


def test_a_missing_instruction_names_the_environment():
    with pytest.raises(ConfigError, match=r"fake/one-arm does not say .* --vla\.instruction"):
        Sight(VisionConfig(), WORDLESS, None, VLA)
    with pytest.raises(ConfigError, match="fake/one-arm says itself what is to be done"):
        Sight(VisionConfig(), SPEC, None, replace(VLA, instruction="go"))
    with pytest.raises(SpecError, match="'observation.instruction' of fake/one-arm is the empty"):
        fitted()({**rows()[0], "instruction": np.array("  ", "<U24")})


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("load_wrong", r"'wrong' says that its embedding has 40 numbers; it gave \(41,\)"),
        ("load_broken", r"'broken': its embedding is not finite \(number 0 of 40 is nan\)"),
    ],
)
def test_a_model_that_gives_something_else_is_named(monkeypatch, model, message):
    monkeypatch.setattr(backbones.SWITCH, "on", True)
    with pytest.raises(BackboneFault, match=message):
        fitted(_with(model))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cameras": ("top",)}, r"vla\.cameras: fake/one-arm has \['front', 'side'\], not 'top'"),
        ({"cameras": ("front",)}, r"looks at the cameras \['front', 'side'\].* gives \['front'\]"),
        ({"cameras": ("front=a", "side=b")}, r"gives \['a', 'b'\]: name them with --vla\.cameras"),
        ({"state": "pose"}, "takes a state of 4 numbers; 'pose' of fake/one-arm has none"),
        (
            {"model": "tests.fakes.models.backbones:load_nothing"},
            "takes a function that gives a Backbone",
        ),
        ({"model": "smolvlm"}, "unknown vision-language model 'smolvlm'.*transformers, lerobot"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(changes, message):
    with pytest.raises(Exception, match=message) as error:
        Sight(VisionConfig(), SPEC, None, replace(VLA, **changes))
    assert error.value.__class__.__name__ in ("ConfigError", "UnknownNameError")


def test_cameras_may_have_other_names_there():
    crossed = fitted(_with(cameras=("front=side", "side=front")))
    assert not np.array_equal(crossed(rows()[0])["embedding"], fitted()(rows()[0])["embedding"])


def test_without_pictures_there_is_nothing_to_look_at():
    spec = replace(SPEC, observation={"state": SPEC.observation["state"]})
    with pytest.raises(ConfigError, match="fake/one-arm has no camera"):
        Sight(VisionConfig(), spec, None, VLA)
