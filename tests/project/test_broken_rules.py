"""What is wrong in a file of tables is said in this project's words, never in those of the library that checks them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from neurosim_ep.errors import NeurosimError
from neurosim_ep.hardware.model.file import read_model
from neurosim_ep.resources import shipped_files
from neurosim_ep.sweep.file import read_sweep
from neurosim_ep.tiles.devices.file import load_device
from neurosim_ep.tiles.statistics import load_cells

RAW = ("Input should", "valid dictionary", "instance of", "Field required", "Value error", "pydantic")
CELL = shipped_files("hwmodels/cells")["pcm"].read_text("utf-8")
CHIP = 'base = "rram_32nm"\n[model]\nname = "mine"\ndescription = "x"\nnode_nm = 32\n'
DEVICE = '[device]\nname = "d"\nmodel = "soft_bounds"\ndescription = "x"\nsource = "y"\n[constants]\n'

Read = Callable[[str], object]
CASES: list[tuple[Read, str, str]] = [
    (read_model, CHIP + "[adc]\nbits = 6\n", 'adc.bits = 6: must be a table, as { value = 6, unit = "1", source'),
    (read_model, CHIP + "[cell]\nread_voltage = 0.2\n", 'must be a table, as { value = 0.2, unit = "V", source'),
    (read_model, CHIP + '[noc]\nplacement = 3\n', "noc.placement = 3: must be"),
    (load_device, DEVICE + "dw_min = 3\n", "constants.dw_min = 3: must be a table, as { value = 3, source ="),
    (load_device, DEVICE.replace('"d"', "3"), "device.name = 3: must be text, in quotes"),
    (load_device, DEVICE.replace('"y"', '""'), 'device.source = "": must be text that is not empty'),
    (load_cells, CELL.replace("[0.26348, 1.9650, -1.1731]", "[]"), "programming.std.value = []: must be a list of at"),
    (load_cells, CELL.replace('variable = "g/g_max"', "variable = 1"), "programming.variable = 1: must be"),
    (lambda path: read_sweep(Path(path)), '[sweep]\nbase = "smoke"\nseeds = 0\n', "sweep.seeds = 0: must be at least"),
    (lambda path: read_sweep(Path(path)), '[sweep]\nbase = 3\n', "sweep.base = 3: must be text, in quotes"),
]  # fmt: skip


@pytest.mark.parametrize(("read", "text", "said"), CASES)
def test_no_sentence_of_the_library_is_shown(tmp_path: Path, read: Read, text: str, said: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(NeurosimError) as problem:
        read(str(file))
    assert said in str(problem.value)
    assert not any(words in str(problem.value) for words in RAW)
