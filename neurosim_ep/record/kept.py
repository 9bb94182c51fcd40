"""What a run must find as it left it: its scenario, and the files it is made of. The checkpoint knows both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neurosim_ep.errors import CheckpointError
from neurosim_ep.record.atomic import file_digest
from neurosim_ep.record.growing import RESTORE
from neurosim_ep.scenario.describe import show
from neurosim_ep.scenario.schema import Scenario
from neurosim_ep.strict import flat

SCENARIO, SOURCE = "scenario.toml", "source.toml"
PLACES = {"data.root", "signals.teacher", "telemetry.plots", "telemetry.report"}
"""Keys that say where something lies, which has a digest of its own, or what is drawn: they may change at any time."""


def kept(folder: Path, scenario: Scenario) -> dict[str, Any]:
    """What a checkpoint keeps of the run directory ``folder``: the ``scenario`` key by key, and the SHA-256 of each of
    the other TOML files, which its hardware is described in.
    """
    return {"scenario": dotted(scenario), "files": _digests(folder)}


def require_kept(folder: Path, scenario: Scenario, known: Mapping[str, Any], overrides: Sequence[str] = ()) -> None:
    """Raise :class:`CheckpointError` unless the run directory ``folder`` is as its checkpoint ``known`` it, those keys
    of ``scenario`` apart that ``overrides`` (``section.key=value``) name.
    """
    found, allowed = kept(folder, scenario), keys_of(overrides)
    for name, digest in known["files"].items():
        if found["files"].get(name) != digest:
            what = "damaged or edited" if name in found["files"] else "missing"
            raise CheckpointError(f"{folder / name}: {what}: not the file that the run began with; {RESTORE}")
    was, now = known["scenario"], found["scenario"]
    changed = [key for key in now if key in was and now[key] != was[key] and key not in PLACES | allowed]
    if changed:
        each = [f"{key} = {show(now[key])}, which was {show(was[key])}" for key in changed]
        remedy = f"neurosim-ep resume {folder} --set {changed[0]}={show(now[changed[0]])}"
        raise CheckpointError(
            f"{folder / SCENARIO}: is not what the run was last saved with: {'; '.join(each)}; put back what it was, "
            f"or change it for the epochs to come with `{remedy}`"
        )


def keys_of(overrides: Sequence[str]) -> set[str]:
    """The keys that ``overrides`` (``section.key=value``) name."""
    return {override.partition("=")[0].strip() for override in overrides}


def dotted(scenario: Scenario) -> dict[str, Any]:
    """Every key of ``scenario`` as "section.key", with its value as JSON has it."""
    return dict(flat(scenario.model_dump(mode="json", by_alias=True)))


def _digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.glob("*.toml")) if path.name not in (SCENARIO, SOURCE)]
    return {path.name: file_digest(path) for path in files}
