"""Processes of two benchmarks do not meet on a core."""

import os
import subprocess
import sys
import tempfile

import pytest

from silri.bench.run.pinning import cores, spawn

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system pins nothing"
)


class Benchmark:
    """Starts processes that live until :meth:`end`."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []

    def start(self):
        """The core of a new process."""
        with (self.folder / "log").open("a") as log:
            process = spawn((sys.executable, "-S", "-c", "import time; time.sleep(600)"), log, {})
        self.processes.append(process)
        (core,) = os.sched_getaffinity(process.pid)
        return core

    def end(self, index):
        self.processes[index].kill()
        self.processes[index].wait()

    def close(self):
        for index in range(len(self.processes)):
            self.end(index)


@pytest.fixture
def benchmark_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # real benchmarks are none of ours
    benchmark = Benchmark(tmp_path)
    yield benchmark
    benchmark.close()


def test_every_core_is_taken_once_before_any_is_taken_twice(benchmark_processes):
    mine = cores()
    taken = [benchmark_processes.start() for _ in range(2 * len(mine))]
    assert taken == mine + mine
    assert cores() == mine


def test_a_core_is_free_again_when_its_process_was_killed(benchmark_processes):
    first, *_ = (benchmark_processes.start() for _ in cores())
    benchmark_processes.end(0)
    assert benchmark_processes.start() == first


@pytest.mark.skipif(len(cores()) < 2, reason="wants two cores")
def test_the_emptiest_core_is_next_however_it_became_that(benchmark_processes):
    first, second, *_ = cores()
    taken = [benchmark_processes.start() for _ in range(2 * len(cores()))]
    ends = [index for index, core in enumerate(taken) if core == second]
    benchmark_processes.end(taken.index(first))  # one is left there, under its second number
    for index in ends:
        benchmark_processes.end(index)
    assert benchmark_processes.start() == second


def test_a_claim_outlives_the_benchmark_that_made_it(benchmark_processes, tmp_path):
    """Killed benchmarks leave their cells running: the next one must not join them."""
    script = (
        "import sys, tempfile; from pathlib import Path\n"
        "from silri.bench.run.pinning import spawn\n"
        f"tempfile.tempdir = {str(tmp_path)!r}\n"
        "with Path(sys.argv[1]).open('a') as log:\n"
        "    wait = (sys.executable, '-S', '-c', 'import time; time.sleep(600)')\n"
        "    print(spawn(wait, log, {}).pid)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "log")]
    other = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    try:
        theirs = os.sched_getaffinity(other)
        if len(cores()) > 1:
            assert benchmark_processes.start() not in theirs
        else:
            assert (tmp_path / f"silri-bench-{os.getuid()}-core{cores()[0]}-0.lock").exists()
            assert {benchmark_processes.start()} == theirs
            assert len(list(tmp_path.glob("*-1.lock"))) == 1
    finally:
        os.kill(other, 9)


@pytest.mark.parametrize(("said", "expected"), [(None, "cpu"), ("cuda", "cuda"), ("", "cpu")])
def test_a_cell_computes_on_the_cpu_unless_somebody_says_otherwise(
    tmp_path, monkeypatch, said, expected
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    if said is not None:
        monkeypatch.setenv("JAX_PLATFORMS", said)
    code = "import os; print(os.environ['JAX_PLATFORMS'], end='')"
    with (tmp_path / "log").open("w") as log:
        assert spawn((sys.executable, "-S", "-c", code), log, {}).wait() == 0
    assert (tmp_path / "log").read_text() == expected
