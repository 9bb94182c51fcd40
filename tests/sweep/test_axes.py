"""Axes multiply out to points, and constraints choose among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from neurosim_ep import resources
from neurosim_ep.sweep.axes import toml_text
from neurosim_ep.sweep.constraints import Constraint
from neurosim_ep.sweep.file import FOLDER
from neurosim_ep.sweep.points import Plan, plan_sweep


def planned(tmp_path: Path, text: str) -> Plan:
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    return plan_sweep(path)


def test_parts_are_multiplied(tmp_path: Path) -> None:
    plan = planned(
        tmp_path,
        """
        [sweep]
        base = "smoke"
        seeds = 2
        constraints = ["relaxation.nudge_steps < relaxation.free_steps or scheduler.policy == 'event'"]
        [fixed]
        scenario.seed = 5
        [grid]
        hardware.device.preset = ["none", "EcRam"]
        [zip.relaxation]
        free_steps = [2, 8]
        nudge_steps = [4, 6]
        [[points]]
        scheduler.policy = "event"
        scheduler.threshold = 0.1
        [[points]]
        "relaxation.beta" = 0.3
        """.replace("scenario.seed = 5", "training.epochs = 1"),
    )
    settings = [point.settings for point, _ in plan.points]
    assert len(settings) == 2 * (2 + 1) * 2 and plan.left_out == 4
    assert settings[0] == {
        "hardware.device.preset": "none", "relaxation.free_steps": 2, "relaxation.nudge_steps": 4,
        "scheduler.policy": "event", "scheduler.threshold": 0.1, "scenario.seed": 0, "relaxation.beta": 0.5,
    }  # fmt: skip
    for point, scenario in plan.points:
        assert scenario.relaxation.beta == point.settings["relaxation.beta"]
        assert scenario.scenario.seed == point.settings["scenario.seed"]
        assert scenario.training.epochs == 1 and not scenario.telemetry.plots
    assert plan.points[0][0].name == (
        "01_preset=none_free_steps=2_nudge_steps=4_policy=event_threshold=0.1_seed=0_beta=0.5"
    )


def test_draws_repeat_and_stay_in_their_ranges(tmp_path: Path) -> None:
    text = """
    [sweep]
    base = "smoke"
    [random]
    draws = 40
    seed = {seed}
    [random.axes]
    relaxation.beta = {{ low = 0.01, high = 1.0, scale = "log" }}
    relaxation.free_steps = {{ low = 4, high = 9 }}
    scheduler.policy = ["synchronous", "sweep"]
    """
    one, same, other = (
        [point.settings for point, _ in planned(tmp_path, text.format(seed=seed)).points] for seed in (1, 1, 2)
    )
    assert one == same != other and len(one) == 40
    assert {settings["relaxation.free_steps"] for settings in one} == {4, 5, 6, 7, 8, 9}
    assert all(0.01 <= settings["relaxation.beta"] <= 1 for settings in one)
    assert 10 < sum(settings["relaxation.beta"] < 0.1 for settings in one) < 30  # half of a logarithmic range
    assert {settings["scheduler.policy"] for settings in one} == {"synchronous", "sweep"}


def test_tables_and_lists_are_values_where_the_scenario_has_them(tmp_path: Path) -> None:
    plan = planned(
        tmp_path,
        """
        [sweep]
        base = "smoke_tiles"
        [grid.hardware.device]
        preset = ["Idealized"]
        constants = [{ up_down = 0.0 }, { up_down = 0.25 }]
        [grid]
        training.learning_rate = [[0.1, 0.2, 0.3, 0.4], 0.5]
        """.replace("[0.1, 0.2, 0.3, 0.4]", "[0.1, 0.2, 0.3]"),
    )
    assert [scenario.hardware.device.constants["up_down"] for _, scenario in plan.points] == [0, 0, 0.25, 0.25]
    assert plan.points[0][1].training.learning_rate == (0.1, 0.2, 0.3)
    assert len({point.name for point, _ in plan.points}) == 4


@pytest.mark.parametrize("value", [True, 3, -0.25, 1e-7, 'a "quoted" \\ text', [1, [2.5, "x"]], {"up_down": 0.1}])
def test_values_are_spelt_as_toml_does(value: object) -> None:
    import tomllib

    assert tomllib.loads(f"value = {toml_text(value)}")["value"] == value


VALUES = {"a.x": 3, "a.y": 4.5, "a.on": True, "b.kind": "le", "b.layers": (1, 2)}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("a.x < a.y", True),
        ("1 <= a.x <= 2", False),
        ("a.x % 2 == 0 or not a.on", False),
        ("a.on and b.kind in ['le', 'kd']", True),
        ("a.x * 2 - 1 == 5 and a.x // 2 + -1 == 0", True),
        ("b.kind != 'none' and (a.x > 9 or a.on == true)", True),
        ("2 in b.layers and 3 not in b.layers", True),
    ],
)
def test_constraints(text: str, holds: bool) -> None:
    assert Constraint.parse(text).holds(VALUES.__getitem__) is holds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.x <", "is no condition; write keys"),
        ("a.x + 1", "gives 4; must be true or false"),
        ("__import__('os').system('true')", r"is not understood; write keys|is no key"),
        ("a.x.__class__ == 1", "names a.x.__class__"),
        ("(lambda: 1)() == 1", "is not understood"),
        ("[x for x in b.layers] == 1", "is not understood"),
        ("9 ** 9 ** 9 > 1", "is not understood"),
        ("b.kind * 10 == 1", "computes with b.kind, which is 'le'; must be a number"),
        ("b.kind < 3", "cannot compare 'le', 3"),
        ("a.x / 0 > 1", "divides by zero"),
        ("a.x and a.on", "takes a.x for true or false"),
        ("a.x is 3", "cannot compare|is not understood"),
        ("a.x > 1 " * 100, "is longer than 500"),
        ("(" * 240 + "1" + ")" * 240 + " > 1", "is no condition"),
    ],
)
def test_constraints_that_are_refused(text: str, said: str) -> None:
    def lookup(key: str) -> Any:
        if key not in VALUES:
            raise KeyError("is no key")
        return VALUES[key]

    with pytest.raises(ValueError, match=said):
        Constraint.parse(text).holds(lookup)


@pytest.mark.parametrize("name", resources.shipped_files(FOLDER))
def test_shipped_sweeps_are_valid(name: str) -> None:
    plan = plan_sweep(resources.shipped_files(FOLDER)[name])
    assert plan.file.sweep.description and 6 <= len(plan.points) <= 40
