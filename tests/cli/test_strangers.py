"""What strangers' environments do to the commands: an episode, or one line; never a traceback."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from silri.core.foreign import said
from silri.store.dataset import read_dataset
from silri.store.safety import files
from tests.fakes.envs.odd import IDS, NO_OPENGL
from tests.fakes.models.agent import registered
from tests.fakes.runs import summary
from tests.source import ROOT

OPERATOR = ("--env.gripper-dims", "3", "--operator", "expert")
SHORT = (
    *("--agent", "fake", "--data.demos", "2", "--steps", "40", "--evaluation.every", "40"),
    *("--evaluation.episodes", "2", "--runtime.tensorboard", "False"),
)


@pytest.fixture(scope="module", autouse=True)
def fake():
    with registered():
        yield


@pytest.fixture
def train(silri):
    def train(name, *arguments):
        chosen = ("--env", IDS[name], *OPERATOR, *SHORT, "--out", "run", *arguments)
        return silri("train", *chosen)

    return train


def one_line(text, *words):
    """Whether all that was said is one line of ours with these words."""
    assert text.startswith("silri "), text
    assert text.count("\n") == 1, text
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NoInfo", ["reset() is to return (observation, info), got dict"]),
        ("NoKey", ["the observation has no 'state'"]),
        ("FourValues", ["env.step raised ValueError", "(env.step returns (observation, reward, t"]),
    ],
)
@pytest.mark.parametrize("verb", ["train", "record"])
def test_a_broken_contract_is_refused_before_the_first_episode(silri, verb, name, words):
    more = SHORT if verb == "train" else ()
    assert silri(verb, "--env", IDS[name], *OPERATOR, *more, "--out", "run") == 2
    one_line(silri.err, f"{IDS[name]} or its operator breaks the contract: ", *words)
    assert not Path("run").exists()


@pytest.mark.parametrize("where", ["Reset", "Step", "Privileged"])
def test_an_exception_now_and_then_costs_its_episodes(silri, train, where):
    assert train(f"Third{where}") == 0, silri.err
    log = Path("run/errors.log").read_text()
    assert "Traceback" in log
    assert "RuntimeError: the bus is down" in log
    assert "demonstration attempt 1 is set aside: env." in silri.out
    assert summary("run")["completed"]
    assert len(read_dataset(Path("run/episodes"))) >= 5
    if where == "Step":  # some steps before: they are kept
        assert summary("run")["quarantined"] == 0  # it breaks in an episode's first step
    assert silri.err == ""


@pytest.mark.parametrize("where", ["Reset", "Step"])
def test_ten_in_a_row_end_the_run_with_a_line_that_says_how_to_go_on(silri, train, where):
    assert train(f"Dead{where}") == 1
    one_line(
        silri.err,
        "failed in 10 episodes in a row",
        f"env.{where.lower()} raised RuntimeError: the bus is down in {where.lower()}",
        "(run/errors.log has details)",
        "go on with 'silri train --resume run'",
    )
    assert Path("run/errors.log").read_text().count("Traceback") == 10


def test_recording_sets_broken_attempts_aside(silri):
    chosen = ("--env", IDS["ThirdStep"], *OPERATOR, "--episodes", "4", "--out", "demos")
    assert silri("record", *chosen) == 0, silri.err
    assert silri.out.count("is set aside: env.step raised RuntimeError: the bus is down") >= 1
    assert len(read_dataset(Path("demos"))) == 4
    assert "Traceback" in Path("demos.errors.log").read_text()
    dead = ("--env", IDS["DeadStep"], *OPERATOR, "--episodes", "20", "--out", "more")
    assert silri("record", *dead) == 1
    one_line(silri.err, "failed in 10 episodes in a row, at last in demonstration attempt")
    assert len(read_dataset(Path("more"))) == 6


def test_what_was_done_of_an_attempt_is_kept_once(silri, monkeypatch):
    """In the second step: one step is there; recording again changes nothing."""
    from tests.fakes.envs import odd

    breaks = odd.Odd._breaks

    def later(self, where):
        if where != "Step" or self._inner._taken:
            breaks(self, where)

    monkeypatch.setattr(odd.Odd, "_breaks", later)
    chosen = ("--env", IDS["ThirdStep"], *OPERATOR, "--out", "demos", "--episodes")
    assert silri("record", *chosen, "2") == 0
    (kept,) = Path("demos.quarantine").iterdir()
    assert "the bus is down" in json.loads((kept / "reason.json").read_text())["reason"]
    assert silri("record", *chosen, "2") == 0
    assert [kept] == list(Path("demos.quarantine").iterdir())
    assert silri("data", "check", "demos") == 0, silri.out


def test_an_evaluation_says_what_broke_and_gives_up_after_ten(silri, train):
    assert train("Succeed", "--env.success-key", "succeed") == 0, silri.err
    swap("run", IDS["Succeed"], IDS["ThirdStep"])
    assert silri("eval", "run", "--episodes", "6") == 0
    one_line(silri.err, "2 of 6 episodes broke, at last: env.step raised RuntimeError")
    assert "Traceback" in Path("run/errors.log").read_text()
    swap("run", IDS["ThirdStep"], IDS["DeadStep"])
    assert silri("eval", "run", "--episodes", "30") == 1
    one_line(silri.err, "failed in 10 episodes in a row", "env.step raised", "errors.log has")


def swap(run, old, new):
    """Another environment for a trained policy."""
    for path in (Path(run) / "config.json", Path(run) / "policy" / "policy.json"):
        text = path.read_text().replace(json.dumps(old), json.dumps(new))
        path.write_text(text.replace('"succeed"', "null"))


def test_an_environment_that_cannot_be_closed_costs_nothing(silri, train):
    assert train("BadClose") == 0, silri.err
    assert "env.close raised RuntimeError: it cannot be closed" in silri.out
    assert summary("run")["completed"]


# -- what cannot be made ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("import not_installed_here", "ModuleNotFoundError: No module named 'not_installed_here'"),
        ("raise ValueError('no licence\\nhere')", "ValueError: no licence here"),
        ("def f(:", "SyntaxError: invalid syntax"),
    ],
)
@pytest.mark.parametrize("name", ["my_lab:Arm-v0", "my_lab:Arm"])
def test_a_module_that_cannot_be_imported_is_one_line(silri, module, words, name):
    Path("my_lab.py").write_text(module)
    assert silri("train", "--env", name, "--out", "run") == 2
    start = f"environment '{name}': module 'my_lab' cannot be imported: "
    one_line(silri.err, start, words, "('silri --debug ...' shows the traceback)")


def test_debug_shows_the_traceback(silri, monkeypatch):
    monkeypatch.setenv("SILRI_DEBUG", "")  # restores what the flag sets
    Path("my_lab2.py").write_text("1 / 0")
    assert silri("train", "--env", "my_lab2:Arm-v0", "--debug") == 2
    assert "Traceback" in silri.err
    assert "my_lab2.py" in silri.err


def test_a_constructor_that_raises_is_one_line(silri):
    lab = """
    from silri.envs.config import EnvConfig
    class Arm:
        Config = EnvConfig
        create = classmethod(lambda cls, config, name: open("/no/calibration.json"))
    """
    Path("my_lab3.py").write_text("\n".join(line[4:] for line in lab.splitlines()))
    assert silri("train", "--env", "my_lab3:Arm", "--out", "run") == 2
    one_line(silri.err, "environment 'my_lab3:Arm' cannot be made: FileNotFoundError", "/no/calib")


def test_a_missing_opengl_is_said_with_what_to_install():
    """MuJoCo's own error, from a MuJoCo whose loader finds no libOSMesa."""
    code = "from silri.cli.main import main; raise SystemExit(main())"
    arguments = ["train", "--env", NO_OPENGL, "--out", "run"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=Path.cwd(),
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    one_line(
        done.stderr,
        "'NoneType' object has no attribute 'glGetError'",
        "OpenGL, which draws its pictures, is missing",
        "apt install libosmesa6",
        "MUJOCO_GL=osmesa",
    )


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (AttributeError("'NoneType' object has no attribute 'eglQueryString'"), True),
        (RuntimeError("an OpenGL platform library has not been loaded into this process"), True),
        (OSError("libglfw.so: cannot open shared object file"), True),
        (AttributeError("'NoneType' object has no attribute 'global_step'"), False),
        (RuntimeError("the gripper is open"), False),
    ],
)
def test_which_errors_mean_a_missing_opengl(error, missing):
    assert ("OpenGL, which draws" in said(error)) == missing


# -- how success is judged -------------------------------------------------------------------------


def test_where_nothing_judges_the_return_is_shown(silri, train):
    assert train("Unjudged", "--data.demos", "0") == 0, silri.err
    assert "success: info['success'] or info['is_success']; without either, an end" in silri.out
    assert "nothing says whether the task was done: a new run with --env.success-r" in silri.out
    assert "mean return -8" in silri.out
    assert "success 0.00" not in silri.out
    assert summary("run")["judged"] is False
    assert summary("run")["mean_return"] < -100
    assert silri("eval", "run", "--episodes", "2") == 0
    assert "mean return -8" in silri.out
    assert "succeed" not in silri.out.replace("--env.success", "")


def test_a_return_can_be_what_success_means(silri, train):
    least = ("--data.demos", "0", "--env.success-return", "-1000")
    assert train("Unjudged", *least) == 0, silri.err
    assert "success: an episode whose return is at least -1000" in silri.out
    assert summary("run")["success_rate"] == 1.0
    assert summary("run")["judged"] is True
    assert silri("eval", "run", "--episodes", "2") == 0
    assert "2 of 2 succeed" in silri.out


def test_a_key_of_info_can_be_what_success_means(silri, train):
    assert train("Succeed", "--env.success-key", "succeed") == 0, silri.err
    assert "success: info['succeed']" in silri.out
    assert summary("run")["demo_episodes"] == 2


def test_a_key_that_is_not_there_is_said_with_those_that_are(silri, train):
    assert train("Succeed", "--env.success-key", "done") == 2
    keys = "['grasp_penalty', 'succeed']"
    one_line(silri.err, "env.success_key 'done'", "has no such key; it has", keys)


def test_key_and_return_exclude_each_other(silri, train):
    assert train("Succeed", "--env.success-key", "a", "--env.success-return", "1") == 2
    one_line(silri.err, "env.success_key 'a' and env.success_return 1 exclude each other")


# -- where nothing can be written ------------------------------------------------------------------

NOWHERE = {
    "a file": "file/deep/out",
    "no disk": "/proc/nowhere/out",
    "a device": "/dev/null/out",
    "a long name": "x" * 300,
}
CASES = {
    "train": (*OPERATOR, *SHORT, "--env", IDS["Succeed"]),
    "record": (*OPERATOR, "--env", IDS["Succeed"], "--episodes", "1"),
    "bench": ("suite.toml",),
    "data export": ("demos",),
    "data merge": ("demos", "demos"),
    "plot": ("run",),
}
SUITE = """
summary = "one cell"
study = "comparison"
seeds = 1
steps = 10

[[tasks]]
label = "reach"
env = "metaworld/reach-v3"

[[people]]
label = "steady"
operator = "steady"

[[variants]]
label = "bc"
agent = "bc"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def inputs(silri, train, made):
    """A dataset and a run to read, made once."""
    if not (made / "run").exists():
        dataset = (*OPERATOR, "--env", IDS["Fine"], "--episodes", "1", "--out", "demos")
        assert silri("record", *dataset) == 0, silri.err
        assert train("Fine", "--steps", "20") == 0, silri.err
        for name in ("demos", "run"):
            shutil.copytree(name, made / name, symlinks=True)
            shutil.rmtree(name)
    for name in ("demos", "run"):
        Path(name).symlink_to(made / name)
    Path("file").write_text("in the way")
    Path("suite.toml").write_text(SUITE)


@pytest.mark.parametrize("where", NOWHERE.values(), ids=NOWHERE)
@pytest.mark.parametrize("verb", CASES)
@pytest.mark.usefixtures("inputs")
def test_a_place_that_cannot_be_written_is_one_line(silri, verb, where):
    out = f"{where}.png" if verb == "plot" else where
    assert silri(*verb.split(), *CASES[verb], "--out", out) == 2
    one_line(silri.err, " cannot be written (", "choose another place with --out")


@pytest.mark.usefixtures("inputs")
def test_a_report_that_cannot_be_written_is_one_line(silri, made, monkeypatch):
    """``eval`` writes into the run."""
    before = files.atomic_write

    def refuse(path, data, **keywords):
        if path.name == "evaluation_mean.json":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        before(path, data, **keywords)

    monkeypatch.setattr(files, "atomic_write", refuse)
    assert silri("eval", "run", "--episodes", "1") == 2
    one_line(silri.err, "run/evaluation_mean.json cannot be written (Read-only file system)")


@pytest.mark.usefixtures("inputs")
def test_a_folder_that_vanishes_in_the_middle_is_one_line(silri, train, monkeypatch):
    from tests.fakes.envs import odd

    step = odd.Odd.step

    def vanish(self, action):
        if self._resets == 6 and Path("new").exists():
            shutil.rmtree("new")
        return step(self, action)

    monkeypatch.setattr(odd.Odd, "step", vanish)
    assert train("Fine", "--out", "new") == 2
    one_line(silri.err, "silri train: new/episodes has vanished or was replaced while it was")


def test_a_script_that_parses_arguments_where_it_is_imported_is_one_line(silri):
    Path("my_script.py").write_text("import sys\nsys.exit('usage: my_script PORT')")
    assert silri("train", "--env", "my_script:Arm-v0", "--out", "run") == 2
    one_line(silri.err, "module 'my_script' cannot be imported: SystemExit: usage: my_script PORT")


@pytest.mark.usefixtures("inputs")
def test_a_dataset_that_is_refused_leaves_no_run_in_the_way(silri, train):
    Path("none").mkdir()
    assert train("Fine", "--out", "new", "--data.dataset", "none") == 1
    one_line(silri.err, "none is no dataset: it has no meta/info.json")
    assert not Path("new").exists()
    assert train("Fine", "--out", "new", "--data.dataset", "demos", "--steps", "10") == 0, silri.err


@pytest.mark.usefixtures("inputs")
def test_a_simulator_that_changes_the_working_directory_takes_no_run_along(
    silri, train, monkeypatch, tmp_path
):
    from tests.fakes.envs import odd

    (tmp_path / "elsewhere").mkdir()
    here, reset = Path.cwd(), odd.Odd.reset

    def moves(self, **keywords):
        os.chdir(tmp_path / "elsewhere")
        return reset(self, **keywords)

    monkeypatch.setattr(odd.Odd, "reset", moves)
    assert train("Fine", "--out", "new", "--steps", "20") == 0, silri.err
    os.chdir(here)
    assert train("Fine", "--steps", "30", "--out", "new") == 2  # it is there
    os.chdir(here)
    assert silri("train", "--resume", "new", "--steps", "30") == 0, silri.err
    os.chdir(here)
    assert silri("record", "--env", IDS["Fine"], *OPERATOR, "--episodes", "1", "--out", "d") == 0
    assert (here / "d/meta").is_dir()
    assert summary(here / "new")["env_steps"] >= 30
    assert not any((tmp_path / "elsewhere").iterdir())


@pytest.mark.usefixtures("inputs")
def test_a_run_whose_episodes_are_gone_says_so(silri, train):
    assert train("Fine", "--out", "new", "--steps", "20") == 0, silri.err
    shutil.rmtree("new/episodes")
    assert silri("train", "--resume", "new", "--steps", "30") == 0, silri.err
    assert "new/episodes holds no episode any more, and 2" in silri.out


@pytest.mark.usefixtures("inputs")
def test_what_an_environment_prints_is_no_json(silri, monkeypatch):
    from tests.fakes.envs import odd

    step = odd.Odd.step

    def says_so(self, action):
        sys.stdout.write("Loading...\n")
        return step(self, action)

    monkeypatch.setattr(odd.Odd, "step", says_so)
    assert silri("eval", "run", "--episodes", "1", "--json") == 0
    assert json.loads(silri.out)["episodes"] == 1
    assert "Loading..." in silri.err
