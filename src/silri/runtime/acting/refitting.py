"""A run's success classifier, fitted again while the run goes on, on what a person corrected.

A process of its own computes (``python -m silri.runtime.acting.refitting``), behind everybody
else: the control loop loses no time to it. The new classifier is taken, and written into the run
folder, before an episode begins; a resumed run begins with it. A run that nobody corrects starts
no process and changes nothing. Simulated people wait for it, so that their runs repeat.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from silri.core.errors import DataError
from silri.runtime.pace.priority import yield_to_control

if TYPE_CHECKING:  # the child yields to the control loop before it imports JAX
    from silri.rewards.classifier import SuccessClassifier
    from silri.rewards.labels import Label

MOST = 5_000  # frames that a person judged; the newest
_PROGRAM = "silri.runtime.acting.refitting"


class Refitter:
    """Looks for corrections before every episode.

    Attributes:
        classifier: the one that judges now.
    """

    def __init__(
        self,
        classifier: SuccessClassifier,
        *,
        kept: Path,
        labels: Path,
        consecutive: int,
        wait: bool,
        say: Callable[[str], None],
    ) -> None:
        """Nothing happens yet.

        Args:
            classifier: of the run.
            kept: folder that it is kept in.
            labels: folder of the frames that a person judges.
            consecutive: frames in a row that the run takes for a success.
            wait: the next episode does not begin before the new one is there.
            say: told what a person should know.
        """
        self.classifier = classifier
        self._kept, self._labels = kept, labels
        self._consecutive, self._wait, self._say = consecutive, wait, say
        self._seen: dict[Path, tuple[int, str, bool, np.ndarray]] = {}
        self._tried: set[str] = set(classifier.known.corrections)
        self._running: tuple[_Child, tuple[str, ...]] | None = None
        self._news: dict[str, float] = {}

    def before(self, episode: int) -> SuccessClassifier | None:
        """The classifier that judges from this episode on, if it is a new one."""
        fresh = None
        try:
            fresh = self._collect(episode)
            if self._running is None:
                self._start(episode)
                if self._wait:
                    fresh = self._collect(episode) or fresh
        except (DataError, OSError) as error:
            self._say(f"the success classifier is not fitted again: {error}")
        return fresh

    def news(self) -> dict[str, float]:
        """What is to be logged, once."""
        news, self._news = self._news, {}
        return news

    def close(self) -> None:
        """Whatever is computed now is for nobody: the frames are kept, and looked at again."""
        if self._running is not None:
            self._running[0].kill()
            self._running = None

    def _start(self, episode: int) -> None:
        """Fit again, if there is a frame that the classifier is wrong about and was not fitted on.

        Only frames of episodes before this one: a resumed run knows no others.
        """
        from silri.rewards.labels import episode_of, paths_of
        from silri.rewards.refit import Corrections, encode_order, verdict_of

        paths = [p for p in paths_of(self._labels) if episode_of(p) < episode][-MOST:]
        self._seen = {path: self._look(path) for path in paths}
        rows = sorted(self._seen.values(), key=lambda row: row[1])
        if all(row[1] in self._tried for row in rows):
            return
        features = np.stack([row[3] for row in rows])
        labels = np.array([row[2] for row in rows], np.int8)
        known = np.array([row[1] in self._tried for row in rows])
        wrong = (verdict_of(self.classifier).sides(features) > 0) != (labels == 1)
        if not (wrong & ~known).any():
            return
        names = tuple(row[1] for row in rows)
        self._tried |= set(names)
        order = encode_order(self.classifier, Corrections(features, labels), self._consecutive)
        self._running = _Child(order), names

    def _look(self, path: Path) -> tuple[int, str, bool, np.ndarray]:
        """(when it was written, its name, what was said, features): each is looked at once."""
        from silri.rewards.classifier import flat
        from silri.rewards.labels import read_label

        written = path.stat().st_mtime_ns
        if path in self._seen and self._seen[path][0] == written:
            return self._seen[path]
        label: Label = read_label(path)
        sight = self.classifier.sight
        if missing := set(sight.cameras) - set(label.frames):
            raise DataError(f"{path} has no frame of {sorted(missing)}; remove it")
        features = flat([sight({c: label.frames[c] for c in sight.cameras})], sight.cameras)[0]
        name = f"{path.stem}: {'success' if label.success else 'failure'}"
        return written, name, label.success, features

    def _collect(self, episode: int) -> SuccessClassifier | None:
        """The new classifier, if it is done and no worse; it is on the disk then."""
        from silri.rewards.refit import decode_answer, with_refitted

        if self._running is None or not (self._wait or self._running[0].done):
            return None
        (child, names), self._running = self._running, None
        done = decode_answer(child.answer())
        held_out = f"of {done.held_out} held-out episodes"
        self._news = {
            "reward/corrections": len(names),
            "reward/held_out_wrong": done.wrong,
            "reward/held_out_wrong_before": done.wrong_before,
            "reward/refused": float(done.worse),
        }
        if done.worse:
            self._say(
                f"the success classifier stays as it is: fitted again on {len(names)} corrections "
                f"it would judge {done.wrong} {held_out} wrongly, now {done.wrong_before}"
            )
            return None
        fresh = with_refitted(self.classifier, done, names)
        fresh.save(self._kept)
        self.classifier = fresh
        self._say(
            f"the success classifier was fitted again on {len(names)} corrections and judges from "
            f"episode {episode} on; {held_out} it judges {done.wrong} wrongly, before "
            f"{done.wrong_before}"
        )
        return fresh


class _Child:
    """One order to a process of its own."""

    def __init__(self, order: bytes) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Ctrl-C in the terminal is for the run, which then ends it.
            start_new_session=True,
        )
        self._order, self._out, self._errors = order, b"", b""
        self._thread = threading.Thread(target=self._talk, name="refitting", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether :meth:`answer` does not wait."""
        return not self._thread.is_alive()

    def answer(self) -> bytes:
        """What it said.

        Raises:
            DataError: it died; with its last line.
        """
        self._thread.join()
        if self._process.returncode:
            last = self._errors.decode(errors="replace").strip().splitlines()[-1:]
            raise DataError(f"its process ended with {self._process.returncode} {last}")
        return self._out

    def kill(self) -> None:
        """End it now."""
        self._process.kill()
        self._thread.join()

    def _talk(self) -> None:
        self._out, self._errors = self._process.communicate(self._order)


def _main() -> None:
    """An order on standard input, the answer on standard output."""
    out, sys.stdout = sys.stdout, sys.stderr  # whatever libraries print
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    yield_to_control(max(cores) if len(cores) == 1 else None)  # a lone core is the loop's
    from silri.rewards.refit import obey_order
    from silri.runtime.starting.backend import prepare_jax

    prepare_jax(decides=True)  # the GPU is the learner's
    out.buffer.write(obey_order(sys.stdin.buffer.read()))
    out.buffer.flush()


if __name__ == "__main__":
    _main()
