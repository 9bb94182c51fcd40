"""Whether ten short runs still give what they gave: weights, tables and traffic, bit for bit.

    python tests/benchmarks/digests.py --keep     keep the digests of this checkout beside this file, unknown to git
    python tests/benchmarks/digests.py            compare with them
    python tests/benchmarks/digests.py kd mlp     some of the runs alone

Digests hold for one kind of processor and one version of PyTorch, as sums are rounded in another order on another: keep
those of the commit before on the machine where the change is tried. Times are left out.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import h5py
import pandas as pd
import torch

KEPT = Path(__file__).with_name("digests.json")
TIMES = ("seconds",)
SHORT = ("data.train_samples=96", "data.test_samples=40", "training.epochs=2", "telemetry.traffic_every=4")
LONGER = ("data.train_samples=240", "data.test_samples=60", "training.epochs=2", "telemetry.traffic_every=5")
TAUGHT = ("signals.kind=kd", "signals.learned=false", "teacher.epochs=2")
SMOKE = (
    "relaxation.free_steps=15", "relaxation.nudge_steps=6", "training.learning_rate=0.1",
    "training.readout_learning_rate=0.1", "training.projection_learning_rate=0.1", "training.update_limit=0.02",
    "training.schedule=cosine",
)  # fmt: skip
RUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "smoke": ("smoke", LONGER),
    "smoke_tiles": ("smoke_tiles", SHORT),
    "mlp": ("mlp", LONGER),
    "vgg11_le": ("vgg11_plain", (*SHORT, "signals.kind=le", "relaxation.nudge_steps=6")),
    "le_learned": ("smoke", (*SHORT, "signals.layers=[0,1,2]", "signals.targets=soft", "plasticity.rule=stdp")),
    "kd": ("smoke", (*SHORT, *TAUGHT)),
    "event": ("smoke", (*SHORT, "scheduler.policy=event", "scheduler.threshold=0.01")),
    "two_pass": ("smoke_tiles", (*SHORT, "hardware.device.update=two_pass")),
    "warm": ("smoke", (*SHORT, "relaxation.warm_start=memory", "relaxation.tolerance=1e-3")),
    "bptt": ("smoke", (*SHORT, "plasticity.rule=bptt")),
}


@click.command(help=__doc__)
@click.argument("names", nargs=-1)
@click.option("--keep", is_flag=True)
def main(names: tuple[str, ...], keep: bool) -> None:
    """Run, digest, and compare or keep."""
    found = {name: _digests(name) for name in names or RUNS}
    if keep:
        KEPT.write_text(json.dumps(found, indent=1) + "\n")
        return
    kept = json.loads(KEPT.read_text())
    wrong = {
        name: [part for part in {**kept[name], **parts} if kept[name].get(part) != parts.get(part)]
        for name, parts in found.items()
    }
    for name, parts in wrong.items():
        click.echo(f"{name:12} {'same' if not parts else 'OTHER: ' + ', '.join(parts)}")
    sys.exit(any(wrong.values()))


def _digests(name: str) -> dict[str, str]:
    """Digest of each part of the run ``name``."""
    scenario, overrides = RUNS[name]
    overrides = (*(SMOKE if scenario.startswith("smoke") else ()), *overrides)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        if "signals.kind=kd" in overrides:
            overrides = (*overrides, f"signals.teacher={folder}/teacher")
            _command("teach", scenario, "--out", f"{folder}/teacher", *_set(overrides))
        _command("run", scenario, "--out", str(out), *_set(overrides))
        parts = {path.name: _digest(_table(path)) for path in sorted(out.glob("*.csv"))}
        parts["weights"] = _digest(_weights(out))
        if (out / "traffic.h5").exists():
            parts["traffic.h5"] = _digest(_datasets(out / "traffic.h5"))
        return parts


def _set(overrides: tuple[str, ...]) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


def _command(*arguments: str) -> None:
    command = [sys.executable, "-m", "neurosim_ep", *arguments, "--quiet", "--device", "cpu", "--threads", "1"]
    subprocess.run(command, check=True, capture_output=True)


def _table(path: Path) -> list[bytes]:
    table = pd.read_csv(path, dtype=str)
    return [table.drop(columns=[name for name in TIMES if name in table]).to_csv(index=False).encode()]


def _weights(out: Path) -> list[bytes]:
    trainer = torch.load(out / "checkpoints" / "last.pt", weights_only=True)["trainer"]
    kept = [part for part in (trainer["network"], trainer["signals"]) if part]
    return [tensor.contiguous().numpy().tobytes() for part in kept for tensor in part.values()]


def _datasets(path: Path) -> list[bytes]:
    found: list[bytes] = []

    def add(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            values = item.asstr()[()] if h5py.check_string_dtype(item.dtype) else item[()]
            found.append(name.encode() + (repr(values.tolist()).encode() if item.dtype.hasobject else values.tobytes()))

    with h5py.File(path) as file:
        file.visititems(add)
    return found


def _digest(parts: list[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    main()
