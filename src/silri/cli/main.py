"""``silri VERB ...``. Imports a verb's module only when it is asked for."""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import silri
from silri.core.errors import SilriError, UsageError
from silri.core.registry import unknown_name

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
DEBUG, _DEBUG_VARIABLE = "--debug", "SILRI_DEBUG"
_HELP = "help"
_PRINTS = (
    _HELP,
    "list",
    "data",
    "plot",
    "diagnose",
    "doctor",
)  # verbs that are done once they are read

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
    arguments = [_expanded(a) for a in (sys.argv[1:] if argv is None else argv)]
    if isinstance(sys.stdout, io.TextIOWrapper):  # a folder's name need not be in its alphabet
        sys.stdout.reconfigure(errors="backslashreplace")
    if not arguments or arguments[0] in ("-h", "--help", "--version"):
        return exit_code(_HELP, lambda: _tell(arguments))
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
        code = run()
        if sys.stdout is not None:  # what waits in its buffer may not find its way either
            sys.stdout.flush()
        return code
    except UsageError as error:
        return _say(name, str(error), USAGE)
    except SilriError as error:
        return _say(name, str(error), FAILED)
    except OSError as error:
        if error.filename is not None:
            return _say(name, f"{error.filename}: {error.strerror}", FAILED)
        if not _output_is_lost():  # no file: a socket, or a bug
            raise
        if isinstance(error, BrokenPipeError) and name in _PRINTS:
            return DONE  # 'silri list envs | head' has read enough
        return _say(name, f"nothing more can be printed ({error.strerror})", FAILED)
    except MemoryError as error:
        why = f" ({error})" if str(error) else ""
        text = (
            f"there is not enough memory{why}; choose smaller numbers, such as --agent.batch-size"
        )
        return _say(name, text, FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED


def _tell(arguments: Sequence[str]) -> int:
    print(silri.__version__ if "--version" in arguments[:1] else _help())
    return DONE


def _expanded(argument: str) -> str:
    """With the home folder for ``~/``, which shells leave as it is in ``--out=~/run``."""
    flag, equals, value = argument.partition("=")
    if equals and flag.startswith("--") and value.startswith("~/"):
        return f"{flag}={Path(value).expanduser()}"
    return str(Path(argument).expanduser()) if argument.startswith("~/") else argument


def _output_is_lost() -> bool:
    """Whether standard output takes nothing any more; what waits for it is thrown away then."""
    try:
        print(flush=True)  # a line more, before a traceback, if it is not
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


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
