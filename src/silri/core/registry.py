"""One kind of table for everything that has a name and settings."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import importlib.metadata
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from silri.core.errors import ConfigError, UnknownNameError
from silri.core.foreign import usable

MOST_NAMES = 24  # in one message; Gymnasium alone registers over a hundred


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a wrong name: lists the right ones and the nearest."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    listed = ", ".join(known[:MOST_NAMES])
    more = f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else ""
    return UnknownNameError(f"unknown {kind} '{name}'.{hint} Known: {listed}{more}.")


@dataclass(frozen=True)
class Preset:
    """A named setting.

    Attributes:
        config: the value of its own configuration.
        summary: one line for ``silri list``.
        run: what it changes elsewhere in the run: section to field to value, e.g.
            ``{"env": {"success_reward": 1.0}}``. What the user sets himself still wins.
    """

    config: Any
    summary: str
    run: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One row of a table.

    Attributes:
        name: what the user types. ``family/<member>`` stands for every name with this beginning.
        target: ``package.module:attribute``, imported only when it is chosen. See :class:`Choice`
            for what the attribute is.
        summary: one line for ``silri list``.
        presets: ``package.module:attribute`` of its presets, or of the configuration that is its
            only one; empty if the target has them.
        package: the installed package that offers it as an entry point; empty for silri's own.
    """

    name: str
    target: str
    summary: str
    presets: str = ""
    package: str = ""

    @property
    def family(self) -> str:
        """The beginning of the names that it stands for; empty if it stands for its own alone."""
        return self.name.partition("<")[0] if "<" in self.name else ""


@dataclass(frozen=True)
class Choice:
    """Something that has a name and settings, loaded: an agent, an environment or an operator.

    **To add one from outside silri**, write a class and choose it by ``my_module:MyClass``, with
    the module in the working directory or installed. An installed package can also give it a
    name, with a Python entry point in the group ``silri.agents``, ``silri.envs`` or
    ``silri.operators``. The class has these attributes:

    ``Config``
        A configuration class, made with :func:`silri.core.settings.settings`; every field has a
        default. It derives from :class:`silri.agents.base.AgentConfig`,
        :class:`silri.envs.config.EnvConfig` or
        :class:`silri.intervention.operators.OperatorConfig`.
    ``presets``
        Optional: name to :class:`Preset`, one of them called ``default``. Without, the default is
        ``Config()``. With presets ``Config`` can be left out.
    ``create``
        An agent has the class methods and methods of :class:`silri.agents.base.Agent`, ``create``
        among them; deriving from it is the easiest. It is a pytree whose leaves are all that it
        learns.

        An environment has ``create(config, name)``, which returns a
        :class:`silri.core.protocols.Env`. One that must be made in another way to have pictures
        (:class:`silri.core.protocols.Pictured`) has ``create_pictured(config, name)``, too.

        An operator has ``create(config, context)``, with an
        :class:`~silri.intervention.operators.OperatorContext`. It returns a
        :class:`silri.core.protocols.Operator`. A device is an operator that has no use for the
        context's expert.

    Attributes:
        name: what the user typed.
        summary: one line.
        target: the class.
        config: its configuration class.
        presets: its named settings; ``default`` is always there.
    """

    name: str
    summary: str
    target: Any
    config: type
    presets: Mapping[str, Preset]
    kind: str

    def preset(self, name: str = "default") -> Preset:
        """The preset called ``name``.

        Raises:
            UnknownNameError: listing the presets that there are.
        """
        if name not in self.presets:
            raise unknown_name(f"preset of {self.kind} {self.name}", name, self.presets)
        return self.presets[name]


class Registry:
    """A table of :class:`Entry`, silri's own and those of installed packages.

    Listing it imports nothing. ``module:Name`` is understood beside the names.
    """

    def __init__(
        self,
        kind: str,
        entries: Iterable[Entry],
        *,
        group: str = "",
        base: str = "",
        methods: tuple[str, ...] = ("create",),
    ) -> None:
        """A table with unique names.

        Args:
            kind: what it holds, for messages.
            entries: silri's own rows.
            group: of Python entry points whose rows are added.
            base: ``package.module:Class`` that every configuration class derives from.
            methods: what every class in it must have.
        """
        self.kind = kind
        self._group = group
        self._base = base
        self._methods = methods
        self._entries: dict[str, Entry] = {}
        for entry in entries:
            if entry.name in self._entries:
                raise ValueError(f"{kind} '{entry.name}' is registered twice")
            self._entries[entry.name] = entry

    def __iter__(self) -> Iterator[Entry]:
        yield from self._entries.values()
        yield from self._offered()

    def names(self) -> list[str]:
        """The names of silri's own rows, in table order."""
        return list(self._entries)

    def get(self, name: str) -> Entry:
        """The row that ``name`` stands for.

        Raises:
            UnknownNameError: there is none; the message lists the right names.
            ConfigError: several packages offer it.
        """
        found = self._matching(name)
        if len(found) > 1:
            packages = " and ".join(entry.package or "silri" for entry in found)
            raise ConfigError(
                f"{self.kind} '{name}' is offered by {packages}: uninstall one of them, or name "
                f"the class, '{found[-1].target}'"
            )
        if found:
            return found[0]
        module, colon, attribute = name.rpartition(":")
        if colon:
            return Entry(name, name, f"{attribute} of {module}")
        raise unknown_name(self.kind, name, [entry.name for entry in self])

    def __contains__(self, name: str) -> bool:
        return bool(self._matching(name))

    def _matching(self, name: str) -> list[Entry]:
        exact = [entry for entry in self if name == entry.name]
        return exact or [e for e in self if e.family and name.startswith(e.family)]

    def load(self, name: str) -> Choice:
        """Import what ``name`` stands for, and check that it is what :class:`Choice` says.

        Raises:
            UnknownNameError: there is no such name; the message lists the right ones.
            ConfigError: the module is not there, or the class lacks something.
        """
        entry = self.get(name)
        target = load_attribute(entry.target, f"{self.kind} '{name}'")
        if not isinstance(target, type):
            raise ConfigError(f"{self._of(name)} takes a class, got {target!r}")
        presets = self._presets(entry, target)
        if "default" not in presets:
            raise ConfigError(
                f"{self._of(name)} needs an attribute 'Config', its configuration class, or "
                "'presets' with one called 'default'"
            )
        config = getattr(target, "Config", None) or type(presets["default"].config)
        wrong = [key for key, preset in presets.items() if not isinstance(preset.config, config)]
        if wrong:
            raise ConfigError(f"{self._of(name)}: preset '{wrong[0]}' holds no {config.__name__}")
        if self._base and not issubclass(config, load_attribute(self._base, "the base class")):
            raise ConfigError(
                f"{self._of(name)}: its configuration {config.__name__} takes "
                f"{self._base.replace(':', '.')} as its base class"
            )
        missing = [method for method in self._methods if not hasattr(target, method)]
        if missing:
            raise ConfigError(f"{self._of(name)} lacks {', '.join(missing)}")
        return Choice(name, entry.summary, target, config, presets, self.kind)

    def _presets(self, entry: Entry, target: Any) -> Mapping[str, Preset]:
        if not entry.presets:
            given: Any = getattr(target, "presets", None)
        else:
            given = load_attribute(entry.presets, entry.name)
        if isinstance(given, Mapping):
            return given
        if given is not None:
            return {"default": Preset(given, entry.summary)}
        config = getattr(target, "Config", None)
        if config is None:
            return {}
        if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
            raise ConfigError(
                f"{self._of(entry.name)}: Config takes a class made with "
                f"silri.core.settings.settings, got {config!r}"
            )
        lacking = [
            f.name
            for f in dataclasses.fields(config)
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        ]
        if lacking:
            raise ConfigError(f"{self._of(entry.name)}: Config.{lacking[0]} needs a default")
        return {"default": Preset(config(), entry.summary)}

    def _of(self, name: str) -> str:
        return f"{self.kind} '{name}'"

    def _offered(self) -> tuple[Entry, ...]:
        """Rows of installed packages."""
        return _offered(self._group) if self._group else ()


@functools.cache  # it reads the metadata of every installed package
def _offered(group: str) -> tuple[Entry, ...]:
    found = []
    for point in importlib.metadata.entry_points(group=group):
        package = "" if point.dist is None else f"{point.dist.name} {point.dist.version}"
        found.append(Entry(point.name, point.value, f"from {package}", package=package))
    return tuple(found)


def require_attributes(thing: Any, names: Iterable[str], what: str) -> None:
    """Refuse an object that lacks a part of its contract.

    Raises:
        ConfigError: naming what is missing.
    """
    missing = [name for name in names if not hasattr(thing, name)]
    if missing:
        raise ConfigError(
            f"{what} created {type(thing).__name__}, which lacks {', '.join(missing)}"
        )


def load_attribute(target: str, what: str) -> Any:
    """The attribute of ``package.module:attribute``.

    Raises:
        ConfigError: the module or the attribute is not there.
    """
    module_name, _, attribute = target.partition(":")
    module = import_module(module_name, what)
    if not hasattr(module, attribute):
        raise ConfigError(f"{what}: module '{module_name}' has no '{attribute}'")
    return getattr(module, attribute)


def import_module(name: str, what: str) -> Any:
    """Import a module, looking in the working directory too.

    The console script, unlike ``python -m``, does not have the working directory on its path.

    Raises:
        ConfigError: there is no such module, or it raises an exception.
    """
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        with usable(f"{what}: module '{name}' cannot be imported"):
            return _import(name, f"{what}: no module '{name}' in {here} or on the Python path")
    finally:
        if added:
            sys.path.remove(here)


def _import(name: str, missing: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name + ".").startswith(error.name + "."):
            raise  # the module is there; something that it imports is not
        raise ConfigError(missing) from error
