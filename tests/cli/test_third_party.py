"""An agent, an environment and a device in one file outside the package, by the command line."""

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from silri.store.dataset import read_dataset
from tests.fakes.models.outside import AGENT
from tests.fakes.runs import summary

CELL = '''
import numpy as np
from silri.core.protocols import OperatorInput
from silri.core.settings import Positive, settings
from silri.core.specs import ActionSpec, ArraySpec, EnvSpec
from silri.envs.config import EnvConfig
from silri.intervention.operators import OperatorConfig


@settings("env")
class TableConfig(EnvConfig):
    """A point on a table."""

    max_episode_steps: int = 10  # decisions until the time-out
    reach: Positive = 0.3  # metres from the goal that are a success


class Table:
    Config = TableConfig

    def __init__(self, config, name):
        self.config = config
        self.env_spec = EnvSpec(
            name, {"state": ArraySpec((4,))}, ActionSpec(2), config.max_episode_steps
        )

    create = classmethod(lambda cls, config, name: cls(config, name))

    def observation(self):
        return {"state": np.concatenate([self.place, self.goal]).astype(np.float32)}

    def reset(self, *, seed=None, options=None):
        rng = np.random.default_rng(seed)
        self.place, self.goal, self.steps = np.zeros(2), rng.uniform(-1, 1, 2), 0
        return self.observation(), {"success": False}

    def step(self, action):
        self.place, self.steps = self.place + 0.2 * action, self.steps + 1
        success = bool(np.linalg.norm(self.goal - self.place) < self.config.reach)
        late = not success and self.steps >= self.config.max_episode_steps
        info = {"success": success, "grasp_penalty": 0.0}
        return self.observation(), float(success), success, late, info

    def close(self):
        pass


@settings("operator")
class ReplayConfig(OperatorConfig):
    """A device that plays what was recorded."""

    file: str = "recorded.npy"  # (N, A) actions
    first: int = 2  # step of an episode in which it takes over


class Replay:
    Config = ReplayConfig
    opened = 0

    def __init__(self, config):
        Replay.opened += 1
        self.actions, self.first = np.load(config.file), config.first

    create = classmethod(lambda cls, config, context: cls(config))

    def begin_episode(self, rng):
        self.next = 0

    def decide(self, view):
        if view.step < self.first or self.next == len(self.actions):
            return OperatorInput(engaged=False)
        self.next += 1
        return OperatorInput(engaged=True, action=self.actions[self.next - 1])

    def end_episode(self, summary):
        pass

    def state(self):
        return {}

    def restore(self, state):
        pass


class NoPolicy:
    Config = TableConfig
    def create(config, spec, seed, augment): ...


class Stuck(Table):
    step = property(lambda self: self.nothing)


class Deaf(Replay):
    decide = property(lambda self: self.nothing)
'''
RECORDED = np.array([[0.5, 0.25], [-0.5, 0.125], [0.75, -0.25]], np.float32)
NAMED = ["--agent", "my_agent:Linear", "--env", "my_cell:Table", "--operator", "my_cell:Replay"]
CHOSEN = [
    *NAMED,
    *("--data.demos", "0", "--steps", "60", "--evaluation.every", "60"),
    *("--evaluation.episodes", "2", "--runtime.tensorboard", "False"),
]


@pytest.fixture(autouse=True)
def _outside(tmp_path):
    """Files in the working directory, where ``silri`` is called."""
    Path("my_agent.py").write_text(AGENT)
    Path("my_cell.py").write_text(CELL)
    np.save("recorded.npy", RECORDED)
    yield
    for name in ("my_agent", "my_cell"):
        sys.modules.pop(name, None)


def test_it_takes_fewer_than_a_hundred_lines():
    assert len(AGENT.splitlines()) < 100


def test_all_three_train_together(silri):
    assert silri("train", *CHOSEN, "--agent.rate", "0.1", "--out", "run") == 0, silri.err
    assert "operator my_cell:Replay: Replay of my_cell. file recorded.npy, first 2" in silri.out
    stored = json.loads(Path("run/config.json").read_text())["run"]
    assert stored["agent_name"] == "my_agent:Linear"
    assert stored["agent"]["rate"] == 0.1
    assert stored["env"]["name"] == "my_cell:Table"
    assert stored["operator"] == {
        "name": "my_cell:Replay",
        "file": "recorded.npy",
        "first": 2,
    }
    assert summary("run")["env_steps"] >= 60
    assert summary("run")["interventions"] >= 5
    taken = 0
    for episode in read_dataset(Path("run/episodes")):
        driven = episode.frames["is_intervention"]
        asked = episode.frames["human_action"][driven]
        np.testing.assert_array_equal(asked, RECORDED[: len(asked)])
        np.testing.assert_array_equal(episode.frames["action"][driven][1:], asked[1:])  # blended
        taken += len(asked)
    assert taken == summary("run")["intervention_steps"]
    assert silri("train", "--resume", "run", "--steps", "70") == 0, silri.err
    assert silri("eval", "run", "--episodes", "2") == 0, silri.err


def test_a_device_is_opened_once_and_demonstrates_too(silri):
    """Checked, demonstrating and intervening are one object: a device cannot be opened twice."""
    np.save("recorded.npy", np.tile(np.float32([[0.5, 0.5]]), (10, 1)))
    fields = ["--data.demos", "1", "--env.reach", "1", "--operator.first", "0", "--steps", "5"]
    off = ["--evaluation.every", "0", "--runtime.tensorboard", "False"]
    assert silri("train", *NAMED, *fields, *off, "--out", "run") == 0, silri.err
    assert import_module("my_cell").Replay.opened == 1
    demo, *others = read_dataset(Path("run/episodes"))
    assert demo.is_demo
    assert others
    assert not any(episode.is_demo for episode in others)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--agent", "my_cell:NoPolicy"],
            "agent 'my_cell:NoPolicy': its configuration TableConfig",
        ),
        (["--agent", "my_agent:np"], "agent 'my_agent:np' takes a class, got <module 'numpy'"),
        (["--env", "my_cell:Stuck"], "environment 'my_cell:Stuck' created Stuck, which lacks step"),
        (
            ["--env", "my_cell:Replay"],
            "its configuration ReplayConfig takes silri.envs.config.EnvC",
        ),
        (
            ["--operator", "my_cell:Deaf"],
            "operator 'my_cell:Deaf' created Deaf, which lacks decide",
        ),
        (["--operator", "my_cell:Nobody"], "module 'my_cell' has no 'Nobody'"),
        (["--env.reach", "0"], "env.reach takes a number > 0, got 0.0"),
    ],
)
def test_what_breaks_its_contract_is_refused_before_there_is_a_folder(silri, arguments, message):
    chosen = list(CHOSEN)
    if arguments[0] in chosen:
        at = chosen.index(arguments[0])
        chosen[at : at + 2] = arguments
    else:
        chosen += arguments
    assert silri("train", *chosen, "--out", "run") == 2
    assert message in silri.err
    assert not Path("run").exists()
