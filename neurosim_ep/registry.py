"""What a scenario asks for by name: one registry for each kind of thing.

The package's own are registered in a home module, which is imported when the registry is first asked. Any other
installed package adds one by an entry point in the registry's group, whose name is that of the thing:

    [project.entry-points."neurosim_ep.activations"]
    softsign = "my_package:SOFTSIGN"

Such an entry is loaded when its thing is asked for, not before: names alone import no package.
"""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

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
    must not import PyTorch where a section of the scenario asks for names of this kind.
    """

    def __init__(self, kind: str, group: str, home: str) -> None:
        self.kind, self.group, self.home = kind, group, home
        self._added: dict[str, T] = {}

    def add(self, thing: T) -> T:
        """Register ``thing`` and return it. Raises ValueError when its name is taken."""
        if thing.name in self._added:
            raise ValueError(f"{self.kind} {thing.name}: is registered already")
        self._added[thing.name] = thing
        return thing

    @cached_property
    def own(self) -> dict[str, T]:
        """The package's own things by name, in the order they were registered in."""
        import_module(self.home)
        return self._added

    def names(self) -> list[str]:
        """All names: the package's own, then those of other packages.

        Raises :class:`UsageError` when another package's is taken.
        """
        return [*self.own, *self._entry_points()]

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
        from importlib.metadata import entry_points

        found: dict[str, EntryPoint] = {}
        for point in entry_points(group=self.group):
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
        return thing

    def _spelled(self, point: EntryPoint) -> str:
        package = "another package" if point.dist is None else point.dist.name
        return f"{self.kind} {point.name} ({point.value} of {package})"


ACTIVATIONS: Registry[Any] = Registry("activation", "neurosim_ep.activations", "neurosim_ep.ep.activations")
POLICIES: Registry[Any] = Registry("policy", "neurosim_ep.policies", "neurosim_ep.scheduler.policies")
