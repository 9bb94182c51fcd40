"""Warnings of a run: each is logged, the first of its kind is shown at once, and each kind is told once at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self


class Alert(str):
    """A warning; ``kind``: what alerts like it have in common, a clause; ``layers``: those it is about, if any;
    ``remedy``: what to do about all of its kind.
    """

    kind: str
    layers: tuple[str, ...]
    remedy: str

    def __new__(cls, text: str, kind: str, layers: Iterable[str] = (), remedy: str = "") -> Self:
        """``text`` is what is shown."""
        made = super().__new__(cls, text)
        made.kind, made.layers, made.remedy = kind, tuple(layers), remedy
        return made


@dataclass
class Kind:
    """All alerts of one kind; ``layers``: each with the epoch that it was named in first; ``epochs``: those that it
    came in, in order.
    """

    remedy: str
    layers: dict[str, int] = field(default_factory=dict)
    epochs: list[int] = field(default_factory=list)

    def sentence(self, kind: str) -> str:
        """What came, in which layers and epochs, and what to do about it."""
        first, last, count = self.epochs[0], self.epochs[-1], len(self.epochs)
        whole = "epochs" if count == last - first + 1 else f"{count} of the epochs"
        span = f"epoch {first}" if count == 1 else f"{whole} {first} to {last}"
        where = f" ({', '.join(self.layers)})" if self.layers else ""
        return f"{kind}{where}, {span}" + (f"; {self.remedy}" if self.remedy else "")


@dataclass
class Alerts:
    """Those of a run in its ``epoch`` (from 1): ``show`` gets what a person sees meanwhile, ``log`` every one."""

    show: Callable[[str], None]
    log: Callable[[str], None]
    epoch: int = 1
    kinds: dict[str, Kind] = field(default_factory=dict)

    def add(self, message: str) -> None:
        """Take an :class:`Alert`, or a ``message`` that is a kind of its own."""
        alert = message if isinstance(message, Alert) else Alert(message, message)
        text = f"epoch {self.epoch}: {alert}"
        self.log(f"warning: {text}")
        if new := alert.kind not in self.kinds:
            self.kinds[alert.kind] = Kind(alert.remedy)
        known = self.kinds[alert.kind]
        for layer in alert.layers:
            known.layers.setdefault(layer, self.epoch)
        known.epochs = sorted({*known.epochs, self.epoch})
        if new:
            self.show(text)

    def sentences(self) -> list[str]:
        """Each kind once."""
        return [known.sentence(kind) for kind, known in self.kinds.items()]

    def document(self) -> list[dict[str, Any]]:
        """As ``run.json`` has them, key ``warnings``."""
        return [
            {
                "sentence": known.sentence(kind), "kind": kind, "layers": list(known.layers),
                "since": list(known.layers.values()), "epochs": known.epochs, "remedy": known.remedy,
            }
            for kind, known in self.kinds.items()
        ]  # fmt: skip

    def go_on_after(self, epoch: int, noted: Iterable[Mapping[str, Any]]) -> None:
        """Take those that ``run.json`` has ``noted`` up to ``epoch``, the last that is finished."""
        self.epoch = epoch + 1
        for one in noted:
            if epochs := [number for number in one["epochs"] if number <= epoch]:
                since = one.get("since", [epochs[0]] * len(one["layers"]))  # not of earlier versions
                layers = {layer: first for layer, first in zip(one["layers"], since, strict=True) if first <= epoch}
                self.kinds[one["kind"]] = Kind(one["remedy"], layers, epochs)
