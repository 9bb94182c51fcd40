"""--json: one strict object on stdout and nothing else there, for every command that finds something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_run import narrow_run

from neurosim_ep.cli import main
from neurosim_ep.cli.group import cli

SMALL = "--set=network.width=0.25", "--set=relaxation.free_steps=4", "--set=data.train_samples=60"
GIVEN = "--activity=0.3", "--events=0.1"
PER_STYLE = {"style", "energy_J", "energy_low_J", "energy_high_J", "latency_s", "area_m2", "power_W", "ratio"}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return narrow_run(tmp_path_factory.mktemp("json") / "run")


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What ``arguments`` print with --json, numbers that JSON does not know refused."""
    assert main([*arguments, "--json"]) == 0

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    found: dict[str, Any] = json.loads(capsys.readouterr().out, parse_constant=refuse)
    words = [word for word in arguments if not word.startswith("-")]
    assert found["schema_version"] == 1
    assert words[: len(found["command"].split())] == found["command"].split()
    return found


def test_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "estimate", "smoke", *SMALL, *GIVEN)
    (bill,) = found["bills"]
    assert (found["scenario"], bill["hardware"]["name"]) == ("smoke", "rram_32nm")
    assert [style["style"] for style in bill["styles"]] == ["clocked", "event", "settling"]
    for style in bill["styles"]:
        assert style.keys() >= PER_STYLE
        assert style["energy_low_J"] <= style["energy_J"] <= style["energy_high_J"]
        assert sum(style["phases_J"].values()) == pytest.approx(style["energy_J"])
        assert style["ratio"] == pytest.approx(style["energy_J"] / style["backprop_J"])


def test_a_chip_that_costs_nothing_has_no_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    (bill,) = told(capsys, "estimate", "smoke", *SMALL, *GIVEN, "--hw", "ideal")["bills"]
    assert all(style["ratio"] is None or style["ratio"] > 0 for style in bill["styles"])


def test_recost_on_several_chips(run_dir: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    chips = ["--hw", "pcm_90nm", "--hw", "rram_32nm"]
    found = told(capsys, "recost", str(run_dir), *chips)
    assert [bill["hardware"]["name"] for bill in found["bills"]] == ["pcm_90nm", "rram_32nm"]
    alone = told(capsys, "recost", str(run_dir), "--hw", "pcm_90nm", "--out", str(tmp_path / "one"))
    assert alone["bills"] == found["bills"][:1]

    assert main(["recost", str(run_dir), *chips, "--out", str(tmp_path / "two")]) == 0
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()[2:8]]
    assert rows == [[style, chip] for style in ("clocked", "event", "settling") for chip in ("pcm_90nm", "rram_32nm")]
    for chip in ("pcm_90nm", "rram_32nm"):
        assert (tmp_path / "two" / chip / "cost.csv").is_file()
    assert (tmp_path / "one" / "cost.csv").read_bytes() == (tmp_path / "two" / "pcm_90nm" / "cost.csv").read_bytes()

    assert main(["recost", str(run_dir), *chips, "--out", str(run_dir)]) == 2
    assert "is not an empty folder" in capsys.readouterr().err
    assert main(["recost", str(run_dir), "--hw", "ideal", "--hw", "ideal"]) == 2
    assert "two models are called ideal; name each once" in capsys.readouterr().err


def test_estimate_on_several_chips(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A file is called as the user calls it, whatever its model is called."""
    mine = tmp_path / "a b=c" / "mine.toml"
    mine.parent.mkdir()
    assert main(["copy", "isaac", str(mine)]) == 0 and capsys.readouterr().out
    chips = ["--hw", str(mine), "--hw", "isaac"]
    found = told(capsys, "estimate", "smoke", *SMALL, *GIVEN, *chips, "--out", str(tmp_path / "bills"))
    assert [bill["model"] for bill in found["bills"]] == [str(mine), "isaac"]
    assert [bill["hardware"]["name"] for bill in found["bills"]] == ["isaac", "isaac"]
    assert {path.name for path in (tmp_path / "bills").iterdir()} == {"mine", "isaac"}


def test_check(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "check", "smoke")
    assert [layer["name"] for layer in found["layers"]] == ["conv1", "conv2", "fc1", "readout"]
    assert found["layers"][0]["weights"] == [8, 3, 3, 3]
    assert found["layers"][0]["parameters"] == 8 * 27 + 8
    assert all(0 < tile["utilisation"] <= 1 for tile in found["tiles"])
    assert {"method", "item", "bits"} <= found["memory"][0].keys()


def test_diagnose(run_dir: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = told(capsys, "diagnose", str(run_dir), "--samples", "4", "--out", str(tmp_path / "diagnosis"))
    assert [layer["name"] for layer in found["layers"]] == ["conv1", "conv2", "fc1"]
    assert found["samples"]["count"] == 4
    assert found["findings"]


def test_gdu(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = told(capsys, "gdu", "smoke", *SMALL, "--samples=2", "--out", str(tmp_path / "gdu"))
    assert {layer["side"] for layer in found["layers"]} == {"right", "left", "symmetric"}
    assert all(0 <= layer["relative_rmse"] <= 1 for layer in found["layers"])
    assert found["folder"] == str(tmp_path / "gdu") and found["samples"] == 2


def test_fit_device(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = [f"{pulse},{way},{w}" for way, sign in (("up", 1), ("down", -1)) for pulse, w in enumerate([-sign, 0, sign])]
    (tmp_path / "pulses.csv").write_text("\n".join(["pulse,direction,weight", *rows]))
    found = told(capsys, "fit-device", str(tmp_path / "pulses.csv"), "--out", str(tmp_path / "mine.toml"))
    assert found["model"] in [one["model"] for one in found["models"]] and found["doubts"] == []
    assert all(one["source"] for one in found["constants"].values())
    assert found["files"][0] == str(tmp_path / "mine.toml")


def test_hardware_models(capsys: pytest.CaptureFixture[str]) -> None:
    names = [model["name"] for model in told(capsys, "hw", "list")["models"]]
    assert {"rram_32nm", "common"} <= set(names)
    entries = {entry["key"]: entry for entry in told(capsys, "hw", "show", "rram_32nm", "adc")["entries"]}
    assert entries["adc.bits"]["value"] == 8
    assert all(entry["source"] for entry in entries.values() if entry["kind"] != "choice")
    differences = told(capsys, "hw", "diff", "rram_32nm", "pcm_90nm")["differences"]
    levels = next(one for one in differences if one["key"] == "array.levels")
    assert [entry["value"] for entry in levels["entries"]] == [128, 100]
    assert told(capsys, "hw", "diff", "isaac", "isaac")["differences"] == []
    checked = told(capsys, "hw", "check", "rram_32nm")
    assert checked["array_at_work"]["power_W"] > 0 and checked["doubts"]


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "list")
    assert {"scenarios", "sweeps", "hardware_models", "export_formats"} <= found.keys()
    assert all(row["description"] for row in found["scenarios"])


def test_schemas(capsys: pytest.CaptureFixture[str]) -> None:
    (section,) = told(capsys, "schema", "relaxation")["sections"]
    beta = next(key for key in section["keys"] if key["name"] == "beta")
    assert beta["meaning"] and beta["rule"] and section["name"] == "relaxation"
    sections = told(capsys, "hw", "schema")["sections"]
    assert {"adc", "noc"} <= {section["name"] for section in sections}
    assert all(key["rule"] for section in sections for key in section["keys"])


def test_errors_leave_stdout_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "no_such_scenario", "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ")


def test_who_offers_json() -> None:
    hw = cli.commands["hw"].commands  # type: ignore[attr-defined]
    commands = cli.commands | {f"hw {name}": command for name, command in hw.items()}
    offered = {name for name, one in commands.items() if any("--json" in option.opts for option in one.params)}
    assert offered == {
        "run", "resume", "teach", "bench", "estimate", "recost", "check", "diagnose", "list", "schema", "explain",
        "gdu", "fit-device", "sweep",
        "hw list", "hw show", "hw diff", "hw check", "hw schema",
    }  # fmt: skip
