"""Strict JAX on the CPU for every test, and the small specs that tests share.

The settings are environment variables, so that they also reach the subprocesses which tests
start, and so that a test of ``core`` or ``data`` does not import JAX at all. Each can be
overridden from outside, e.g. ``JAX_NUMPY_DTYPE_PROMOTION=standard pytest tests/nn``.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from silri.core.specs import ActionSpec, ArraySpec, EnvSpec

ROOT = Path(__file__).resolve().parents[1]

_ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    # With JAX_PLATFORMS=cuda,cpu several workers share the GPU's memory.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    # (B,) + (B, 1) broadcasting to (B, B) is the classic critic bug: here it raises.
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    # Tests compile much and compute little. Without LLVM's optimisations they take 0.6 of the time;
    # without XLA's fusion emitters and its threads an agent's update compiles in a quarter of that.
    "XLA_FLAGS": (
        "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
        "--xla_cpu_parallel_codegen_split_count=1"
    ),
    # The second run of the suite does not compile again.
    "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".pytest_cache" / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    # No test draws pictures of a simulator, and machines without OpenGL run the suite too.
    "MUJOCO_GL": "disabled",
    "MPLBACKEND": "Agg",
}
for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

# Shared machines stall now and then: a time limit per example would make tests flaky. In CI the
# examples are the same on every run.
settings.register_profile("silri", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("silri")


MAPPINGS = Path("/proc/self/maps")
MOST_MAPPINGS = 25_000  # of the 65,530 that Linux allows a process


@pytest.fixture(scope="module", autouse=True)
def few_mappings() -> Iterator[None]:
    """Let go of compiled functions before the kernel refuses memory for more.

    Each takes mappings of its own, and a worker compiles thousands; without them XLA crashes.
    """
    yield
    if "jax" not in sys.modules or not MAPPINGS.exists():
        return
    if MAPPINGS.read_bytes().count(b"\n") > MOST_MAPPINGS:
        import jax

        jax.clear_caches()
        gc.collect()


@pytest.fixture
def standard_promotion() -> Iterator[None]:
    """Numpy's dtype rules for one test: for code such as optax that is not written strictly."""
    import jax

    with jax.numpy_dtype_promotion("standard"):
        yield


def make_spec(action: ActionSpec) -> EnvSpec:
    """A spec with two small vector keys and the given action."""
    return EnvSpec(
        name="fake/reach",
        observation={"state": ArraySpec((4,)), "environment_state": ArraySpec((3,))},
        action=action,
        max_episode_steps=10,
        points={"state": ((0, 1),), "environment_state": ((1, 2),)},
    )


@pytest.fixture
def spec() -> EnvSpec:
    """One arm with a gripper: three continuous dimensions and one discrete."""
    return make_spec(ActionSpec(4, gripper=(3,)))


@pytest.fixture(
    params=[ActionSpec(2), ActionSpec(4, gripper=(3,)), ActionSpec(8, gripper=(3, 7))],
    ids=["no-gripper", "one-arm", "two-arms"],
)
def any_spec(request: pytest.FixtureRequest) -> EnvSpec:
    """Each kind of action that a spec can describe."""
    return make_spec(request.param)
