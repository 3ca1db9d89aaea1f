"""The command line in processes of its own: on the real simulator, and under real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from silri.store.dataset import read_dataset
from tests.cli.conftest import POINT, SMALL
from tests.fakes.envs.gym_point import CAMERA
from tests.fakes.runs import metrics, summary

ROOT = Path(__file__).resolve().parents[2]
DRAWER = ["--env", "metaworld/drawer-open-v3", "--data.demos", "3"]
BRIEF = ["--agent.stages.0.updates", "200"]  # of what comes before the first step
FEW = [
    "--evaluation.every",
    "250",
    "--evaluation.episodes",
    "3",
    "--runtime.checkpoint-every",
    "100",
]

pytestmark = pytest.mark.slow


STARTED = []


@pytest.fixture(autouse=True)
def _nobody_is_left_running():
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.communicate()


def start(*arguments, cwd):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
        "SILRI_COMPILATION_CACHE": os.environ["JAX_COMPILATION_CACHE_DIR"],
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "silri.cli.main", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    STARTED.append(process)
    return process


def silri(*arguments, cwd, code=0):
    """Standard output of a command that must end with ``code``."""
    process = start(*arguments, cwd=cwd)
    out, err = process.communicate(timeout=600)
    assert process.returncode == code, f"{out}\n{err}"
    assert "Traceback" not in err
    return out


def test_train_resume_eval_plot_on_the_default_task(tmp_path):
    out = silri("train", *DRAWER, *BRIEF, *FEW, "--steps", 300, "--out", "run", cwd=tmp_path)
    run = tmp_path / "run"
    assert "silri (default) on metaworld/drawer-open-v3, seed 0, 300 steps -> run" in out
    first = summary(run)
    assert first["completed"] is True
    assert 300 <= first["env_steps"] < 400
    assert first["demo_episodes"] == 3
    assert (run / "tensorboard").is_dir()

    silri("train", "--resume", "run", "--steps", 500, cwd=tmp_path)
    second = summary(run)
    assert 500 <= second["env_steps"] < 600
    assert second["completed"] is True
    rows = metrics(run)
    ends = [row["step"] for row in rows if "episode/length" in row]
    assert ends == sorted(set(ends))
    online = [episode for episode in read_dataset(run / "episodes") if not episode.is_demo]
    assert ends == [sum(len(e) for e in online[: i + 1]) for i in range(len(online))]
    assert ends[-1] == second["env_steps"]

    report = json.loads(silri("eval", "run", "--episodes", 3, "--json", cwd=tmp_path))
    assert report["success_rate"] == second["success_rate"]
    silri("plot", "run", "--out", "figure.png", cwd=tmp_path)
    assert (tmp_path / "figure.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("agent", "preset", "more"),
    [
        ("bc", "default", BRIEF),
        ("hg_dagger", "default", BRIEF),
        ("hil_serl", "default", []),
        ("hil_serl", "offline", BRIEF),
        ("silri", "released", BRIEF),
        ("silri_groups", "default", BRIEF),
        ("silri_asking", "default", BRIEF),
    ],
)
def test_every_agent_runs_on_the_simulator(tmp_path, agent, preset, more):
    silri(
        *("train", "--agent", agent, "--preset", preset, *DRAWER, *more, *FEW),
        *("--steps", 150, "--out", "run"),
        cwd=tmp_path,
    )
    done = summary(tmp_path / "run")
    assert done["completed"] is True
    assert done["env_steps"] >= (0 if agent == "bc" else 150)
    assert (done["agent"], done["preset"]) == (agent, preset)


# -- signals ---------------------------------------------------------------------------------------

POINT_RUN = ["--agent", "silri", *POINT, *SMALL, "--steps", "600", "--evaluation.every", "200"]


def episodes_of(path):
    return [(e.episode_id, e.seed, e.frames["action"].tobytes()) for e in read_dataset(path)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nobody disturbs."""
    where = tmp_path_factory.mktemp("whole")
    silri("train", *POINT_RUN, "--out", "run", cwd=where)
    return where / "run"


def wait_for_lines(path, count, process):
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and len(path.read_text().splitlines()) >= count:
            return
        time.sleep(0.01)
    pytest.fail(f"no {count} lines in {path}: exit code {process.poll()}")


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_a_run_that_got_signals_ends_as_the_one_that_did_not(tmp_path, whole, number, code):
    process = start("train", *POINT_RUN, "--out", "run", cwd=tmp_path)
    lines = 20
    for _ in range(3):
        wait_for_lines(tmp_path / "run/metrics.jsonl", lines, process)
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, f"{out}\n{err}"
        assert ("everything is saved" in out) == (code == 130)
        lines += 50
        process = start("train", "--resume", "run", cwd=tmp_path)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, f"{out}\n{err}"
    run = tmp_path / "run"
    assert summary(run) == summary(whole)
    assert metrics(run) == metrics(whole)
    assert episodes_of(run / "episodes") == episodes_of(whole / "episodes")
    name = "policy/policy.safetensors"
    assert (run / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.alone
def test_a_run_from_cameras_killed_ten_times_ends_as_the_one_that_was_not(tmp_path):
    """Pictures go through the real encoder, whose features are computed again from the store."""
    seen = ["train", "--env", CAMERA, *POINT[2:], *SMALL, "--steps", "400"]
    seen += ["--evaluation.every", "200", "--vision.size", "8", "--out"]
    silri(*seen, "whole", cwd=tmp_path)
    rows = tmp_path / "run/metrics.jsonl"
    last = len(metrics(tmp_path / "whole"))
    draws = np.random.default_rng(0)
    process = start(*seen, "run", cwd=tmp_path)
    for death in range(10):
        wait_for_lines(rows, int(last * (death + draws.random()) / 10), process)
        process.kill()
        process.communicate(timeout=120)
        process = start("train", "--resume", "run", cwd=tmp_path)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, f"{out}\n{err}"
    run, whole = tmp_path / "run", tmp_path / "whole"
    assert summary(run) == summary(whole)
    assert metrics(run) == metrics(whole)
    assert episodes_of(run / "episodes") == episodes_of(whole / "episodes")
    for name in ("policy/policy.safetensors", "policy/sight.safetensors"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()


def test_two_processes_in_one_folder(tmp_path, whole):
    process = start("train", *POINT_RUN, "--out", "run", cwd=tmp_path)
    wait_for_lines(tmp_path / "run/metrics.jsonl", 5, process)
    second = start("train", "--resume", "run", cwd=tmp_path)
    _, err = second.communicate(timeout=120)
    assert second.returncode == 2
    assert f"in use by process {process.pid}" in err
    out, err = process.communicate(timeout=300)  # the first did not notice
    assert process.returncode == 0, f"{out}\n{err}"
    assert metrics(tmp_path / "run") == metrics(whole)
