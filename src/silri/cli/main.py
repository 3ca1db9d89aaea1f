"""``silri VERB ...``. Imports a verb's module only when it is asked for."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence

import silri
from silri.core.errors import SilriError, UsageError
from silri.core.registry import unknown_name

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
DEBUG, _DEBUG_VARIABLE = "--debug", "SILRI_DEBUG"

VERBS = {
    "train": "train an agent with an operator in the loop, or resume a run",
    "eval": "how often a trained policy succeeds on its own",
    "record": "record demonstrations into a dataset",
    "learner": "learn from robots, here or on other machines",
    "actor": "drive one robot for a learner",
    "console": "look at a run in the browser, episode by episode",
    "reward": "a success classifier: fit one from episodes, and how far to trust it",
    "data": "list, check, repair, merge or export datasets",
    "diagnose": "what is wrong with a run, and what to try",
    "plot": "learning curves of one or several runs",
    "bench": "run a benchmark suite, resumably, and report on it",
    "doctor": "check the machine, an environment, a device",
    "list": "agents, envs, operators or devices",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code: 0 done, 1 failed, 2 usage, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return DONE
    if arguments[0] == "--version":
        print(silri.__version__)
        return DONE
    if DEBUG in arguments:
        arguments.remove(DEBUG)
        os.environ[_DEBUG_VARIABLE] = "1"  # processes that this one starts are told, too
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    verb, rest = arguments[0], arguments[1:]

    def run() -> int:
        if verb not in VERBS:
            raise unknown_name("verb", verb, VERBS)
        return int(importlib.import_module(f"silri.cli.{verb}").main(rest))

    return exit_code(verb, run)


def exit_code(name: str, run: Callable[[], int]) -> int:
    """What ``run`` returns; an error of ours is one line that begins with ``name``.

    A file or folder that cannot be written or read is one, too. ``--debug`` shows tracebacks.
    """
    try:
        return run()
    except UsageError as error:
        return _say(name, str(error), USAGE)
    except SilriError as error:
        return _say(name, str(error), FAILED)
    except OSError as error:
        if error.filename is None:  # no file: a socket, or a bug
            raise
        return _say(name, f"{error.filename}: {error.strerror}", FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED


def _say(name: str, text: str, code: int) -> int:
    """Print an error that is being handled."""
    if os.environ.get(_DEBUG_VARIABLE):
        traceback.print_exc()
    print(f"silri {name}: {text}", file=sys.stderr)
    return code


def _help() -> str:
    rows = "\n".join(f"  {verb:10}{summary}" for verb, summary in VERBS.items())
    return (
        "silri: human-in-the-loop reinforcement learning for robot manipulation\n\n"
        f"usage: silri VERB ...   (silri VERB --help for its options)\n\n{rows}\n\n"
        f"{DEBUG} anywhere shows the traceback of an error"
    )


if __name__ == "__main__":
    sys.exit(main())
