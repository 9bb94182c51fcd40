"""Pack a finished run as a trained network that ships: python tests/benchmarks/pack_run.py RUN_DIR NAME IMAGES

Writes ``trained/NAME.zip``. IMAGES says in words which images the run learned. Weights, tables and counts stay to the
bit. Left out are pictures, and the momentum: a resumed run begins again with none. What says where things lay on the
machine of the run becomes neutral, in :func:`neutral_info` and by :data:`DATA`; an archive in which a path of a machine
is left is not written.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import torch

from neurosim_ep.record.atomic import write_json
from neurosim_ep.record.checkpoint import load_checkpoint, save_checkpoint
from neurosim_ep.record.kept import SCENARIO, kept
from neurosim_ep.record.rundir import RunDirectory
from neurosim_ep.record.trained import SHIPPED
from neurosim_ep.scenario.load import dump_scenario, load_scenario

HOME = Path(__file__).resolve().parents[2] / "trained"
DATA = ["data.kind=cifar10", 'data.root=""']
"""Instead of where the images lay: the official archives, wherever NEUROSIM_EP_DATA says."""
SKIPPED = {"plots", "diagnosis", ".neurosim-ep.lock"}
PATH_OF_A_MACHINE = re.compile(rb"""(?<![\w./-])/(?:tmp|home|root|work|mnt|data|scratch|Users|var|opt)\b[^\s"',]*""")
MOST_BYTES = 2 * 2**20


def neutral_info(info: Mapping[str, Any], name: str, images: str) -> dict[str, Any]:
    """``run.json`` without the places of the machine: `--out` and data.root in the command, where the images lay."""
    argv, before = [], ""
    for word in info["argv"]:
        if before == "--out":
            argv.append(f"runs/{name}")
        elif word.startswith("data.root=") and before == "--set":
            argv.append("data.root=DIR")
        else:
            argv.append(word)
        before = word
    shipped = {"left_out": ["plots", "momentum"], "changed": DATA}
    return {**info, "argv": argv, "data": {**info["data"], "source": images}, SHIPPED: shipped}


def pack(run_dir: Path, name: str, images: str, target: Path) -> None:
    """Write the archive ``target`` of the finished run in ``run_dir``. Raises ValueError for what cannot ship."""
    run = RunDirectory.open(run_dir)
    if run.info()["status"] != "done":
        raise ValueError(f"{run_dir}: status = {run.info()['status']}; only a finished run can ship")
    scenario = load_scenario(run_dir / SCENARIO, DATA)
    with TemporaryDirectory() as place:
        folder = Path(place)
        for path in sorted(run_dir.rglob("*")):
            inside = path.relative_to(run_dir)
            if path.is_file() and inside.parts[0] not in SKIPPED:
                (folder / inside).parent.mkdir(exist_ok=True)
                (folder / inside).write_bytes(path.read_bytes())
        (folder / SCENARIO).write_text(dump_scenario(scenario), "utf-8")
        write_json(folder / "run.json", neutral_info(run.info(), name, images))
        state = load_checkpoint(run.checkpoints, torch.device("cpu"))
        del state["format"]
        state["trainer"]["optimiser"]["sgd"]["state"] = {}
        state["kept"] = kept(folder, scenario)
        save_checkpoint(folder / "checkpoints", state)
        content = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.*"))}
    for file, body in content.items():
        if found := PATH_OF_A_MACHINE.search(body):
            raise ValueError(f"{file}: names a path of this machine, {found[0].decode()}")
    with ZipFile(target, "w", ZIP_DEFLATED, compresslevel=9) as archive:
        for file, body in content.items():
            entry = ZipInfo(file)  # of no time, so that packing again gives the same bytes
            entry.external_attr, entry.compress_type = 0o644 << 16, ZIP_DEFLATED
            archive.writestr(entry, body)
    if target.stat().st_size > MOST_BYTES:
        target.unlink()
        raise ValueError(f"{target}: more than {MOST_BYTES:,} bytes; ship a smaller network, or fewer recorded batches")


if __name__ == "__main__":
    pack(Path(sys.argv[1]), sys.argv[2], sys.argv[3], HOME / f"{sys.argv[2]}.zip")
