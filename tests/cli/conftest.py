from __future__ import annotations

import pytest

from silri.cli.main import main
from tests.fakes.envs.gym_point import IDENTIFIER

# The runs of tests.fakes.runs, as somebody would type them.
POINT = [
    *("--env", IDENTIFIER, "--env.gripper-dims", "3"),
    *("--operator", "steady", "--operator.gate.rescue-steps", "8"),
    *("--operator.gate.probability", "0.3", "--operator.gate.hold", "2", "4"),
]
SMALL = [
    *("--agent.trunk.hidden", "16", "16", "--agent.batch-size", "8"),
    *("--agent.stages.0.updates", "100", "--data.demos", "2", "--steps", "30"),
    *("--evaluation.every", "15", "--evaluation.episodes", "2"),
    *("--runtime.checkpoint-every", "10", "--runtime.log-every", "5"),
    *("--runtime.tensorboard", "False"),
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Nothing is written into the checkout or the user's cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SILRI_COMPILATION_CACHE", "")


class Silri:
    """Runs commands in this process."""

    def __init__(self, capsys):
        self._capsys = capsys

    def __call__(self, *arguments):
        """Exit code; what was printed is in ``out`` and ``err``."""
        self._capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as done:
            code = done.code
        self.out, self.err = self._capsys.readouterr()
        return code

    def train(self, *arguments, agent="hg_dagger", env=IDENTIFIER):
        point = [env if argument == IDENTIFIER else argument for argument in POINT]
        return self("train", "--agent", agent, *point, *SMALL, *arguments)


@pytest.fixture
def silri(capsys):
    return Silri(capsys)
