"""What scenarios, models and commands ask for by name: one registry for each kind of thing.

The package's own are registered in a home module, which is imported when the registry is first asked, or, where that
would load much, are classes that are found in the source of their homes (:class:`ClassRegistry`). Any other installed
package adds one by an entry point in the registry's group, whose name is that of the thing:

    [project.entry-points."neurosim_ep.activations"]
    softsign = "my_package:SOFTSIGN"

Such an entry is loaded when its thing is asked for, not before: names alone import no package.
"""

from __future__ import annotations

import ast
import pkgutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from importlib import import_module, util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from neurosim_ep.errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class Named(Protocol):
    """What can be registered: ``name`` is how scenarios spell it, ``sentence`` explains it in one line."""

    @property
    def name(self) -> str: ...
    @property
    def sentence(self) -> str: ...


T = TypeVar("T", bound=Named)


class Registry(Generic[T]):
    """All things of a ``kind`` by name.

    ``group``: entry points of other packages; ``home``: module that registers the package's own with :meth:`add`. It
    must not import PyTorch where a section of the scenario asks for names of this kind. ``needs``: attributes that
    every thing has beside name and sentence.
    """

    def __init__(self, kind: str, group: str, home: str, needs: Sequence[str] = ()) -> None:
        self.kind, self.group, self.home, self.needs = kind, group, home, ("sentence", *needs)
        self._added: dict[str, T] = {}

    def add(self, thing: T) -> T:
        """Register ``thing`` and return it. Raises ValueError when its name is taken."""
        if thing.name in self._added:
            raise ValueError(f"{self.kind} {thing.name}: is registered already")
        self._added[thing.name] = thing
        return thing

    @cached_property
    def own(self) -> Mapping[str, Any]:
        """The package's own things by name, in the order they were registered in."""
        import_module(self.home)
        return self._added

    def names(self) -> list[str]:
        """All names: the package's own, then those of other packages.

        Raises :class:`UsageError` when another package's is taken.
        """
        return [*self.own, *self._entry_points()]

    def values(self) -> list[T]:
        """All things, in the order of :meth:`names`. Raises :class:`UsageError` when one cannot be loaded."""
        return [self[name] for name in self.names()]

    def sentences(self) -> dict[str, str]:
        """The sentence of every name, or what is wrong with the package it comes from."""
        return {name: self._sentence(name) for name in self.names()}

    def _sentence(self, name: str) -> str:
        try:
            return self[name].sentence
        except UsageError as problem:
            return str(problem)

    def __contains__(self, name: str) -> bool:
        return name in self.own or name in self._entry_points()

    def __getitem__(self, name: str) -> T:
        """The thing called ``name``, one of :meth:`names`.

        Raises :class:`UsageError` when the package that has it cannot be loaded.
        """
        return self.own[name] if name in self.own else self._loaded(self._entry_points()[name])

    def _entry_points(self) -> dict[str, EntryPoint]:
        found: dict[str, EntryPoint] = {}
        for point in _installed(self.group, _places()):
            taken = found.get(point.name)
            if point.name in self.own or (taken is not None and taken.value != point.value):
                raise UsageError(f"{self._spelled(point)}: this name is taken; rename the entry point, or uninstall it")
            found[point.name] = point
        return dict(sorted(found.items()))

    def _loaded(self, point: EntryPoint) -> T:
        try:
            thing: T = point.load()
            name = thing.name
        except Exception as problem:  # whatever goes wrong in a package that is not ours
            raise UsageError(
                f"{self._spelled(point)}: cannot be loaded ({problem}); mend that package, or uninstall it"
            ) from problem
        if name != point.name:
            raise UsageError(f"{self._spelled(point)}: calls itself {name!r}; give both the same name")
        lacking = {need for need in self.needs if not hasattr(thing, need)} | getattr(
            thing, "__abstractmethods__", set()
        )
        if lacking:
            names = ", ".join(sorted(lacking))
            raise UsageError(f"{self._spelled(point)}: lacks {names}; mend that package, or uninstall it")
        return thing

    def _spelled(self, point: EntryPoint) -> str:
        package = "another package" if point.dist is None else point.dist.name
        return f"{self.kind} {point.name} ({point.value} of {package})"


def _places() -> tuple[tuple[str, int], ...]:
    """The folders that packages are imported from, and when anything was installed in each last."""
    return tuple((place, Path(place).stat().st_mtime_ns) for place in sys.path if Path(place).is_dir())


@cache
def _installed(group: str, places: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    """The entry points of ``group`` of all packages in ``places``: found by reading a file of every package."""
    from importlib.metadata import entry_points

    return tuple(entry_points(group=group))


class Written(NamedTuple):
    """A class as it stands in the source of ``module``, which has not been imported for it."""

    sentence: str
    module: str
    attribute: str


class ClassRegistry(Registry[T]):
    """All classes of a ``kind`` by name, the package's own being those in ``homes``, modules or packages of modules,
    that give themselves a ``name`` and a ``sentence``, both plain texts: these are read without running the source, and
    a class is imported when it is asked for. A new one is a class in a file, and nothing else.
    """

    def __init__(self, kind: str, group: str, *homes: str, needs: Sequence[str] = ()) -> None:
        super().__init__(kind, group, homes[0], needs)
        self.homes = homes

    @cached_property
    def own(self) -> dict[str, Written]:
        """Where the package's own stand, by name, in the order of their modules' names."""
        return {name: written for home in self.homes for name, written in _classes(home)}

    def _sentence(self, name: str) -> str:
        return self.own[name].sentence if name in self.own else super()._sentence(name)

    def __getitem__(self, name: str) -> T:
        """See :meth:`Registry.__getitem__`."""
        if name not in self.own:
            return super().__getitem__(name)
        found: T = getattr(import_module(self.own[name].module), self.own[name].attribute)
        return found


def _classes(home: str) -> Iterator[tuple[str, Written]]:
    """Every class in ``home`` with a name and a sentence of its own, by that name."""
    inside = util.find_spec(home).submodule_search_locations  # type: ignore[union-attr]
    modules = [f"{home}.{found.name}" for found in pkgutil.iter_modules(inside)] if inside else [home]
    for module in modules:
        source = Path(util.find_spec(module).origin).read_text("utf-8")  # type: ignore[union-attr,arg-type]
        for node in ast.parse(source).body if "sentence" in source else ():
            if isinstance(node, ast.ClassDef) and {"name", "sentence"} <= (texts := _texts(node.body)).keys():
                yield texts["name"], Written(texts["sentence"], module, node.name)


def _texts(body: list[ast.stmt]) -> dict[str, str]:
    """The plain texts that a class gives names to."""
    pairs: list[tuple[ast.expr, ast.expr | None]] = []
    for line in body:
        match line:
            case ast.Assign(targets=[ast.Tuple(elts=keys)], value=ast.Tuple(elts=values)):
                pairs += zip(keys, values, strict=False)
            case ast.Assign(targets=[key], value=value) | ast.AnnAssign(target=key, value=value):
                pairs.append((key, value))
    return {
        key.id: value.value
        for key, value in pairs
        if isinstance(key, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str)
    }


ACTIVATIONS: Registry[Any] = Registry("activation", "neurosim_ep.activations", "neurosim_ep.ep.activations", ["of"])
POLICIES: Registry[Any] = Registry(
    "policy", "neurosim_ep.policies", "neurosim_ep.scheduler.policies", ["ticks", "obeys_senders", "prepare", "step"]
)
RULES: Registry[Any] = Registry(
    "learning rule", "neurosim_ep.rules", "neurosim_ep.scheduler.rules",
    ["label", "nudges", "relaxes", "real_tiles", "keys", "broken_rules", "present"],
)  # fmt: skip
SIGNALS: Registry[Any] = Registry(
    "signal kind", "neurosim_ep.signals", "neurosim_ep.ep.signal_kinds",
    ["label", "taught", "matrix", "keys", "learns", "entries", "targets"],
)  # fmt: skip
ACTIONS: Registry[Any] = Registry(
    "hardware action", "neurosim_ep.actions", "neurosim_ep.hardware.bill.cost",
    ["in_phase", "afterwards", "styles", "components"],
)  # fmt: skip
EXPORTERS: ClassRegistry[Any] = ClassRegistry(
    "exporter", "neurosim_ep.exporters", "neurosim_ep.record.export", "neurosim_ep.diagnosis.neurosim_trace",
    "neurosim_ep.diagnosis.spice_tile", needs=["export", "told"],
)  # fmt: skip
SOURCES: ClassRegistry[Any] = ClassRegistry(
    "data source", "neurosim_ep.sources", "neurosim_ep.data.sources", needs=["takes", "read"]
)
DEVICES: ClassRegistry[Any] = ClassRegistry(
    "device law", "neurosim_ep.devices", "neurosim_ep.tiles.devices", needs=["draw", "up", "down"]
)
CONVERTERS: ClassRegistry[Any] = ClassRegistry(
    "converter", "neurosim_ep.converters", "neurosim_ep.hardware.model.adc", needs=["at_node", "cost"]
)
SINKS: ClassRegistry[Any] = ClassRegistry(
    "sink", "neurosim_ep.sinks", "neurosim_ep.telemetry.sinks", needs=["package", "extra", "begin", "epoch", "end"]
)

LISTED: dict[str, Registry[Any]] = {
    "Activations": ACTIVATIONS,
    "Policies": POLICIES,
    "Learning rules": RULES,
    "Signals": SIGNALS,
    "Data sources": SOURCES,
    "Device laws": DEVICES,
    "Prices of converters": CONVERTERS,
    "Export formats": EXPORTERS,
    "Sinks": SINKS,
}
"""What `neurosim-ep list` shows, under its titles."""
