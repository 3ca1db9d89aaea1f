"""``silri VERB ...``. Imports a verb's module only when it is asked for."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Sequence

import silri
from silri.core.errors import SilriError, UsageError
from silri.core.registry import unknown_name

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

VERBS = {
    "train": "train an agent with an operator in the loop, or resume a run",
    "eval": "how often a trained policy succeeds on its own",
    "record": "record demonstrations into a dataset",
    "learner": "learn from robots, here or on other machines",
    "actor": "drive one robot for a learner",
    "data": "list, check, repair, merge or export datasets",
    "plot": "learning curves of one or several runs",
    "bench": "run a benchmark suite, resumably, and report on it",
    "list": "agents, envs or operators",
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
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    verb, rest = arguments[0], arguments[1:]

    def run() -> int:
        if verb not in VERBS:
            raise unknown_name("verb", verb, VERBS)
        return int(importlib.import_module(f"silri.cli.{verb}").main(rest))

    return exit_code(verb, run)


def exit_code(name: str, run: Callable[[], int]) -> int:
    """What ``run`` returns; an error of ours is one line that begins with ``name``."""
    try:
        return run()
    except UsageError as error:
        print(f"silri {name}: {error}", file=sys.stderr)
        return USAGE
    except SilriError as error:
        print(f"silri {name}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _help() -> str:
    rows = "\n".join(f"  {verb:8}{summary}" for verb, summary in VERBS.items())
    return (
        "silri: human-in-the-loop reinforcement learning for robot manipulation\n\n"
        f"usage: silri VERB ...   (silri VERB --help for its options)\n\n{rows}"
    )


if __name__ == "__main__":
    sys.exit(main())
