"""Redraw docs/images/run from a run directory of ``vgg11_le``: ``python docs/site/draw.py RUN_DIR``."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from neurosim_ep.analysis.plot import plot_runs

TARGET = Path(__file__).parent.parent / "images" / "run"


def main(run_dir: str) -> None:
    """Draw every picture of ``run_dir`` and keep it 1000 pixels wide."""
    with TemporaryDirectory() as folder:
        for path in plot_runs([Path(run_dir)], Path(folder)):
            if path.suffix == ".png":
                picture = Image.open(path).convert("RGB")
                picture.thumbnail((1000, 2000))
                picture.save(TARGET / path.name, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
