"""Warnings of a run: each is logged, the first of its kind is shown at once, and all are counted at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self


class Alert(str):
    """A warning; ``kind``: what alerts like it have in common, a clause; ``where``: the layer it is about, if any;
    ``remedy``: what to do about all of its kind.
    """

    kind: str
    where: str
    remedy: str

    def __new__(cls, text: str, kind: str, where: str = "", remedy: str = "") -> Self:
        """``text`` is what is shown."""
        made = super().__new__(cls, text)
        made.kind, made.where, made.remedy = kind, where, remedy
        return made


@dataclass
class Alerts:
    """Those of a run: ``show`` gets what a person sees while it goes on, ``log`` every one."""

    show: Callable[[str], None]
    log: Callable[[str], None]
    seen: dict[str, list[tuple[int, Alert]]] = field(default_factory=dict)

    def add(self, epoch: int, alert: Alert) -> None:
        """Take an ``alert`` of ``epoch`` (from 1)."""
        text = f"epoch {epoch}: {alert}"
        self.log(f"warning: {text}")
        known = self.seen.setdefault(alert.kind, [])
        known.append((epoch, alert))
        if len(known) == 1:
            self.show(text)

    def close(self) -> None:
        """Show how often each kind came, in which layers and epochs, and what to do about it."""
        for kind, alerts in self.seen.items():
            epochs = sorted({epoch for epoch, _ in alerts})
            layers = list(dict.fromkeys(alert.where for _, alert in alerts if alert.where))
            span = f"epoch {epochs[0]}" if len(epochs) == 1 else f"epochs {epochs[0]} to {epochs[-1]}"
            where = f" ({', '.join(layers)})" if layers else ""
            count = f"{len(alerts)} times: " if len(alerts) > 1 else ""
            text = f"{count}{kind}{where}, {span}; {alerts[0][1].remedy}"
            self.log(f"warning: {text}")
            if len(alerts) > 1 or layers:
                self.show(text)
