from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from silri.core.errors import CheckpointError
from silri.runtime.keeping.checkpoint import CheckpointStore, tree_hash
from tests.store.killing import kill_at_every_write
from tests.store.test_store import snapshot


class Moments(NamedTuple):
    count: object
    mu: object


def make_tree(seed: int = 0, xp=np):
    rng = np.random.default_rng(seed)
    return {
        "critic": {"w": xp.asarray(rng.standard_normal((2, 3, 4)).astype(np.float32))},
        "opt": [Moments(xp.asarray(np.int32(seed)), xp.asarray(rng.random(3).astype(np.float32)))],
        "mask": xp.asarray(np.array([True, False])),
        "none": None,
        "empty": xp.asarray(np.zeros((0, 2), np.float32)),
    }


def fill(folder: Path, steps=(10, 20)) -> Path:
    store = CheckpointStore(folder / "checkpoints", keep=2)
    for step in steps:
        store.save(step, make_tree(step), {"step": step, "name": "é"})
    return folder


def save_next(folder: Path) -> None:
    fill(folder, (30,))


def save_same_again(folder: Path) -> None:
    CheckpointStore(folder / "checkpoints", keep=2).save(
        20, make_tree(21), {"step": 20, "again": 1}
    )


def assert_loads(folder: Path, step: int, seed: int | None = None):
    loaded = CheckpointStore(folder / "checkpoints", keep=2).load_newest(make_tree(99))
    assert loaded is not None
    assert loaded.step == loaded.state["step"] == step
    assert tree_hash(loaded.arrays) == tree_hash(make_tree(step if seed is None else seed))
    return loaded


def test_what_came_later_is_what_a_fresh_agent_has(tmp_path):
    fill(tmp_path)
    template = make_tree(99) | {"worked": np.float32(0.25)}
    loaded = CheckpointStore(tmp_path / "checkpoints", keep=2).load_newest(template)
    assert loaded.arrays["worked"] == 0.25
    assert tree_hash(loaded.arrays | {"worked": None}) == tree_hash(make_tree(20))
    CheckpointStore(tmp_path / "checkpoints", keep=2).save(30, template, {})
    assert CheckpointStore(tmp_path / "checkpoints", keep=2).load_newest(template).step == 30


@pytest.mark.parametrize("xp", [np, jnp])
def test_round_trip_keeps_bits_structure_and_kinds_of_leaves(tmp_path, xp):
    tree = make_tree(3, xp) | {"number": 7, "ratio": 0.1}
    nan = np.array([0x7FC01234, 0x80000000], np.uint32).view(np.float32)
    tree["nan"] = xp.asarray(nan)
    state = {"steps": 5, "history": [0.1, 1e-300, None], "text": "é"}
    path = CheckpointStore(tmp_path).save(5, tree, state)
    assert path == tmp_path / "000000005"
    loaded = CheckpointStore(tmp_path).load_newest(tree)
    assert loaded is not None
    assert loaded.messages == []
    assert loaded.state == state
    assert jax.tree.structure(loaded.arrays) == jax.tree.structure(tree)
    for new, old in zip(jax.tree.leaves(loaded.arrays), jax.tree.leaves(tree), strict=True):
        assert isinstance(new, type(old))
        assert np.asarray(new).tobytes() == np.asarray(old).tobytes()
        assert np.shape(new) == np.shape(old)
    assert type(loaded.arrays["opt"][0]) is Moments


def test_no_checkpoint_yet(tmp_path):
    assert CheckpointStore(tmp_path / "nothing").load_newest(make_tree()) is None
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(CheckpointError, match="keep=0"):
        CheckpointStore(tmp_path, keep=0)


def test_oldest_are_pruned_and_last_points_to_the_newest(tmp_path):
    fill(tmp_path, (10, 20, 30, 40))
    assert CheckpointStore(tmp_path / "checkpoints").steps() == [30, 40]
    assert (tmp_path / "checkpoints/last").readlink() == Path("000000040")
    assert_loads(tmp_path, 40)
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"000000030", "000000040", "last"}


def test_the_same_step_is_replaced(tmp_path):
    save_same_again(fill(tmp_path))
    assert assert_loads(tmp_path, 20, seed=21).state["again"] == 1


@pytest.mark.parametrize("name", ["arrays.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "deleted"])
def test_a_damaged_checkpoint_is_passed_over_with_a_message(tmp_path, name, damage):
    fill(tmp_path)
    path = tmp_path / "checkpoints/000000020" / name
    content = path.read_bytes()
    middle = len(content) // 2
    if damage == "deleted":
        path.unlink()
    else:
        flipped = content[:middle] + bytes([content[middle] ^ 8]) + content[middle + 1 :]
        path.write_bytes({"flipped": flipped, "cut": content[:-1], "empty": b""}[damage])
    loaded = assert_loads(tmp_path, 10)
    assert len(loaded.messages) == 1
    assert loaded.messages[0].startswith("checkpoint 000000020 is not used: ")
    assert name in loaded.messages[0]
    save_next(tmp_path)
    assert assert_loads(tmp_path, 30).messages == []


def test_any_flipped_bit_is_seen(tmp_path):
    fill(tmp_path)
    for path in (tmp_path / "checkpoints/000000020").iterdir():
        content = path.read_bytes()
        for position in range(0, len(content), 5):
            damaged = bytearray(content)
            damaged[position] ^= 1 << (position % 8)
            path.write_bytes(bytes(damaged))
            assert assert_loads(tmp_path, 10).messages, (path.name, position)
        path.write_bytes(content)
    assert_loads(tmp_path, 20)


def test_all_damaged_is_an_error(tmp_path):
    fill(tmp_path)
    for path in (tmp_path / "checkpoints").glob("0*/state.json"):
        path.write_text("{}")
    with pytest.raises(
        CheckpointError, match=r"no checkpoint in .* is sound: .*000000020.*000000010"
    ):
        CheckpointStore(tmp_path / "checkpoints").load_newest(make_tree())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t | {"new": np.zeros(1)}, "has no 'new'"),
        (lambda t: t | {"mask": None}, "has 'mask'"),
        (
            lambda t: t | {"critic": {"w": np.zeros((2, 3, 5), np.float32)}},
            r"'critic/w' is float32\[2, 3, 4\] in .* and float32\[2, 3, 5\]",
        ),
        (lambda t: t | {"mask": np.zeros(2, np.int8)}, r"'mask' is bool\[2\] in .* and int8\[2\]"),
    ],
)
def test_what_does_not_fit_names_the_field(tmp_path, change, message):
    fill(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        CheckpointStore(tmp_path / "checkpoints").load_newest(change(make_tree()))


def test_leaves_that_are_no_numbers_are_refused(tmp_path):
    store = CheckpointStore(tmp_path / "c")
    with pytest.raises(CheckpointError, match="'name' is str"):
        store.save(1, {"name": "text"}, {})
    with pytest.raises(CheckpointError, match="'rng' is no plain array"):
        store.save(1, {"rng": jax.random.key(0)}, {})
    with pytest.raises(CheckpointError, match="two leaves of the tree are called 'a/b'"):
        store.save(1, {"a": {"b": 1}, "a/b": 2}, {})
    assert not (tmp_path / "c").exists()


def test_killed_at_every_write_of_a_save(tmp_path):
    template = fill(tmp_path / "template")
    calls = kill_at_every_write(
        "tests.runtime.keeping.test_checkpoint:save_next", template, tmp_path / "runs"
    )
    assert {"mkdir", "open", "write", "fsync", "rename", "symlink", "unlink", "rmdir"} <= {
        step for step, _ in calls
    }
    whole = snapshot(tmp_path / "runs/0")
    steps = []
    for number in range(1, len(calls) + 1):
        folder = tmp_path / "runs" / str(number)
        found = CheckpointStore(folder / "checkpoints").load_newest(make_tree())
        assert found is not None
        steps.append(found.step)
        assert_loads(folder, found.step)
        assert found.messages == [], calls[number - 1]  # never half a checkpoint under a true name
        last = folder / "checkpoints/last"
        assert last.readlink().name in ("000000020", "000000030")
        assert (last / "manifest.json").exists()
        save_next(folder)
        assert snapshot(folder) == whole, calls[number - 1]
    assert set(steps) == {20, 30}
    assert steps == sorted(steps)


def test_killed_at_every_write_of_a_replacement(tmp_path):
    template = fill(tmp_path / "template")
    calls = kill_at_every_write(
        "tests.runtime.keeping.test_checkpoint:save_same_again", template, tmp_path / "runs"
    )
    whole = snapshot(tmp_path / "runs/0")
    for number in range(1, len(calls) + 1):
        folder = tmp_path / "runs" / str(number)
        found = CheckpointStore(folder / "checkpoints").load_newest(make_tree())
        assert found is not None
        assert_loads(folder, found.step, seed=21 if "again" in found.state else found.step)
        save_same_again(folder)
        assert snapshot(folder) == whole, calls[number - 1]


def test_killed_at_every_write_of_the_first(tmp_path):
    (tmp_path / "template").mkdir()
    calls = kill_at_every_write(
        "tests.runtime.keeping.test_checkpoint:save_next", tmp_path / "template", tmp_path / "runs"
    )
    for number in range(1, len(calls) + 1):
        store = CheckpointStore(tmp_path / "runs" / str(number) / "checkpoints")
        found = store.load_newest(make_tree())
        assert found is None or (found.step == 30 and not found.messages)


def test_tree_hash_sees_values_names_shapes_and_dtypes():
    tree = {"a": np.zeros(4, np.float32), "b": np.ones(2, np.float32)}
    same = {"b": jnp.ones(2), "a": jnp.zeros(4)}
    assert tree_hash(tree) == tree_hash(same)
    others = [
        {"a": np.zeros(4, np.float32), "c": np.ones(2, np.float32)},
        {"a": np.zeros((2, 2), np.float32), "b": np.ones(2, np.float32)},
        {"a": np.zeros(4, np.int32), "b": np.ones(2, np.float32)},
        {"a": np.array([0, 0, 0, -0.0], np.float32), "b": np.ones(2, np.float32)},
    ]
    assert len({tree_hash(other) for other in (tree, *others)}) == 5


def test_manifest_is_readable(tmp_path):
    fill(tmp_path)
    manifest = json.loads((tmp_path / "checkpoints/last/manifest.json").read_text())
    assert manifest["step"] == 20
    assert set(manifest["files"]) == {"arrays.safetensors", "state.json"}
