"""JAX's settings, in processes of their own: they count only before JAX is first used."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

REPORT = """
import json, os, jax
from silri.runtime.starting.backend import prepare_jax
prepare_jax(decides={decides})
print(json.dumps([os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"], jax.config.jax_platforms]))
"""


def run(code, *arguments, **environment):
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("JAX_PLATFORMS", "XLA_PYTHON_CLIENT_PREALLOCATE")
    }
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**kept, "SILRI_COMPILATION_CACHE": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_learner_shares_the_gpu():
    assert json.loads(run(REPORT.format(decides=False))) == ["false", None]


def test_who_only_acts_does_so_on_the_cpu():
    assert json.loads(run(REPORT.format(decides=True))) == ["false", "cpu"]


def test_what_the_user_says_goes_first():
    said = {"XLA_PYTHON_CLIENT_PREALLOCATE": "true", "JAX_PLATFORMS": "cuda"}
    assert json.loads(run(REPORT.format(decides=True), **said)) == ["true", "cuda"]


@pytest.mark.parametrize("module", ["train", "eval", "process"])
def test_a_command_does_not_use_jax_before_it_is_prepared(module):
    # With a platform that does not exist, the first use of any would raise.
    needs = "silri.runtime.cluster.control" if module == "process" else "silri.agents.silri"
    run(f"import silri.cli.{module}, {needs}", JAX_PLATFORMS="nowhere")
    with pytest.raises(AssertionError, match="nowhere"):
        run("import jax; jax.devices()", JAX_PLATFORMS="nowhere")


PREPARED = """
import sys
import jax
import silri.cli.{module} as verb

def prepared(*, decides=False):
    jax.config.update("jax_num_cpu_devices", 1)  # raises once JAX has been used
    print("prepared", decides)
    sys.exit()

verb.prepare_jax = prepared
verb.main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("module", "arguments", "decides"),
    [
        ("train", ("--steps", "1"), False),
        ("train", ("--steps", "1", "--runtime", "cluster"), True),
        ("learner", ("--steps", "1"), True),
        ("eval", ("runs/none",), False),
    ],
)
def test_a_command_is_prepared_before_it_does_anything(module, arguments, decides):
    # Checking a new run already uses JAX when it loads the policy of --expert-run.
    assert run(PREPARED.format(module=module), *arguments) == f"prepared {decides}\n"
