"""Scenario files: defaults, overrides, writing back, and what each bad scenario is told."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from bad_scenarios import BAD_FILES, BAD_OVERRIDES
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from neurosim_ep import resources
from neurosim_ep.errors import ScenarioError
from neurosim_ep.scenario import describe
from neurosim_ep.scenario.load import dump_scenario, load_scenario, parse_scenario
from neurosim_ep.scenario.schema import NetworkSection, Scenario


def parse(text: str, *overrides: str) -> Scenario:
    return parse_scenario(tomllib.loads(text), "test.toml", overrides)


def message_of(text: str, *overrides: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        parse(text, *overrides)
    return str(caught.value)


CUSTOM = """
[network]
preset = "custom"
activation = ["hard_sigmoid", "relu"]
[[network.layers]]
kind = "conv"
size = 8
pool = "max"
[[network.layers]]
kind = "linear"
size = 10
[signals]
kind = "le"
layers = [0]
[training]
learning_rate = [1, 0.5]
"""


def test_an_empty_document_is_all_defaults() -> None:
    assert parse("") == Scenario()


def test_precedence_is_override_then_file_then_default() -> None:
    scenario = parse("[training]\nepochs = 3\nbatch_size = 16", "training.epochs=4")
    assert (scenario.training.epochs, scenario.training.batch_size) == (4, 16)
    assert scenario.training.momentum == Scenario().training.momentum


def test_the_last_override_of_a_key_wins() -> None:
    assert parse("", "training.epochs=4", "training.epochs=5").training.epochs == 5


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("data.kind=cifar10", "data", "kind", "cifar10"),
        ('data.kind="cifar10"', "data", "kind", "cifar10"),
        ("data.root=/data/my images", "data", "root", "/data/my images"),
        ("data.root=a=b", "data", "root", "a=b"),
        ("data.normalise=false", "data", "normalise", False),
        ("relaxation.beta=1", "relaxation", "beta", 1.0),
        ("relaxation.tolerance=1e-4", "relaxation", "tolerance", 1e-4),
        (" training.epochs = 7 ", "training", "epochs", 7),
        ("training.learning_rate=[0.1, 1]", "training", "learning_rate", (0.1, 1.0)),
        ('network.activation=["relu", "relu"]', "network", "activation", ("relu", "relu")),
        ("network.hidden=[8, 4]", "network", "hidden", (8, 4)),
        ("network.activation=relu", "network", "activation", "relu"),
    ],
)
def test_override_values(override: str, section: str, key: str, value: object) -> None:
    document = '[data]\nkind = "folder"\n[network]\npreset = "mlp"\nhidden = [16, 8]'
    found = getattr(getattr(parse(document, override), section), key)
    assert found == value
    assert type(found) is type(value)


def test_overrides_leave_the_document_as_it_was() -> None:
    document = {"training": {"epochs": 3}}
    parse_scenario(document, "test.toml", ["training.epochs=4"])
    assert document == {"training": {"epochs": 3}}


def test_sections_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        NetworkSection().width = 2.0  # type: ignore[misc]
    hash(parse(CUSTOM))  # no list or dictionary anywhere inside


@pytest.mark.parametrize("text", ["", CUSTOM, '[scenario]\ndescription = "two\\nlines, \\"quoted\\", µ"'])
def test_dump_is_read_back_as_the_same_scenario(text: str) -> None:
    scenario = parse(text)
    assert parse(dump_scenario(scenario)) == scenario


@settings(max_examples=50, deadline=None)
@given(
    description=st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    beta=st.floats(min_value=1e-6, max_value=10**6),
    rates=st.lists(st.floats(min_value=0, max_value=10**6), min_size=1),
    seed=st.integers(0, 2**31 - 1),
)
def test_dump_keeps_every_number_and_text(description: str, beta: float, rates: list[float], seed: int) -> None:
    document = {
        "scenario": {"description": description, "seed": seed},
        "network": {"preset": "mlp", "hidden": [8] * len(rates)},
        "relaxation": {"beta": beta},
        "training": {"learning_rate": rates},
    }
    scenario = parse_scenario(document, "drawn")
    assert parse(dump_scenario(scenario)) == scenario


def check_single_problem(message: str, expected: str) -> None:
    first, *problem, last = message.splitlines()
    assert first == "test.toml: 1 problem"
    assert len(problem) == 1 and expected in problem[0]
    assert last == "`neurosim-ep schema` lists all keys with their rules"


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_gets_one_line_with_key_value_rule_and_remedy(case: str) -> None:
    text, expected = BAD_FILES[case]
    check_single_problem(message_of(text), expected)


@pytest.mark.parametrize("case", BAD_OVERRIDES)
def test_a_bad_override_gets_one_line(case: str) -> None:
    override, expected = BAD_OVERRIDES[case]
    check_single_problem(message_of("", override), expected)


def test_an_override_cannot_mend_a_section_that_is_no_table() -> None:
    check_single_problem(message_of("network = 3", "network.width=1"), "network = 3: must be a table of keys")


def test_all_problems_are_reported_at_once() -> None:
    message = message_of(
        '[network]\nwidht = 1\npool = "mx"\n[training]\nepochs = 0\nlearning_rate = [1, "a", -1]\n[foo]',
        "relaxation.beta=0",
        "bad",
    )
    assert message.splitlines()[0] == "test.toml: 8 problems"
    for key in (
        "--set bad:",
        "network.widht =",
        'network.pool = "mx"',
        "relaxation.beta (--set) = 0",
        "training.epochs = 0",
        'training.learning_rate[1] = "a"',
        "training.learning_rate[2] = -1",
        "foo: unknown section",
    ):
        assert message.count(f"\n  {key}") == 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("alpha_min = 0.1", "signals.alpha_min = 0.1: is where a schedule ends; remove it, or set alpha_schedule"),
        ('alpha_schedule = "linear"\nalpha_decay = 0.5', 'is for alpha_schedule = "exponential"; remove it'),
    ],
)
def test_the_end_of_a_schedule_that_there_is_not_is_refused(lines: str, said: str) -> None:
    assert said in message_of(f'[signals]\nkind = "le"\nlayers = [0]\n{lines}')


def test_several_broken_rules_of_one_section_are_reported_at_once() -> None:
    message = message_of('[signals]\nkind = "le"\nalpha_min = 2.0')
    assert "signals.layers = []" in message
    assert "signals.alpha_min = 2.0" in message


def test_broken_rules_between_sections_are_reported_at_once_and_with_problems_of_other_sections() -> None:
    message = message_of(
        '[network]\nactivation = ["relu"]\n[signals]\nkind = "le"\nlayers = [10]\n[training]\nlearning_rate = [1, 2]',
        "relaxation.beta=0",
        "foo.bar=1",
    )
    assert message.splitlines()[0] == "test.toml: 5 problems"
    for key in (
        "network.activation =",
        "signals.layers =",
        "training.learning_rate =",
        "relaxation.beta (--set) =",
        "foo: unknown section",
    ):
        assert message.count(f"\n  {key}") == 1


def test_layers_are_not_counted_in_a_broken_network() -> None:
    message = message_of('[network]\npreset = "vgg12"\npool = "mx"\n[signals]\nkind = "le"\nlayers = [10]')
    check_single_problem(message, 'network.pool = "mx"')


def test_nothing_is_said_of_the_defaults_of_a_broken_section() -> None:
    message = message_of('[plasticity]\nrule = "bptt"\nbptt_steps = 300\n[relaxation]\nfree_steps = 400\nbeta = 0')
    check_single_problem(message, "relaxation.beta = 0")


def test_signals_are_switched_off_with_their_other_keys_in_place() -> None:
    signals = load_scenario("vgg11_le", ["signals.kind=none", "signals.alpha_min=2"]).signals
    assert (signals.kind, signals.layers) == ("none", (1, 3, 5, 7, 8))


def write(folder: Path, content: bytes) -> Path:
    path = folder / "bad.toml"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[data]\nkind = cifar10\n", "line 2 is not valid TOML: Invalid value\n  kind = cifar10"),
        (b"[data]\nroot = 'a\n", "line 2 is not valid TOML"),
        (b"[training]\nlearning_rate = [0.1,", "line 2 is not valid TOML"),
        (b"[training\nepochs = 3", "line 1 is not valid TOML"),
        (
            b"[data]\nroot = ''\nroot = ''\n[network]",
            "line 3 is not valid TOML: Cannot overwrite a value; each key",
        ),
        (
            b"[data]\n[network]\n[data]\n",
            "line 3 is not valid TOML: Cannot declare ('data',) twice; each key",
        ),
        (b"[scenario]\nname = 'caf\xe9'", "is not UTF-8 text (byte 22); save it as UTF-8"),
        (b"PK\x03\x04\x00\x00", "is not text (byte 4 is 0); save it as UTF-8"),
    ],
)
def test_a_file_that_is_not_toml_is_refused_with_its_line(tmp_path: Path, content: bytes, expected: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="is a directory"):
        load_scenario(tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no such file"):
        load_scenario(tmp_path / "nowhere.toml")


def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path, b"")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ScenarioError, match="cannot be read: Permission denied"):
        load_scenario(path)


def test_an_empty_file_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    assert load_scenario(write(tmp_path, b"")) == Scenario()
    assert load_scenario(write(tmp_path, b"\xef\xbb\xbf[training]\r\nepochs = 3\r\n")).training.epochs == 3


def test_shipped_names_resolve_and_near_misses_are_suggested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tiny_net.toml"
    path.write_text("[training]\nepochs = 3")
    monkeypatch.setattr(resources, "shipped_files", lambda folder: {"tiny_net": path})
    for name in ("tiny_net", "tiny_net.toml", "scenarios/tiny_net.toml"):
        assert load_scenario(name, ["training.batch_size=2"]).training.epochs == 3
    with pytest.raises(ScenarioError, match="did you mean tiny_net"):
        load_scenario("tinynet")


def test_every_shipped_scenario_is_valid_and_described() -> None:
    for path in resources.shipped_files("scenarios").values():
        assert load_scenario(path).scenario.description


def test_every_key_is_described_and_its_default_keeps_its_rule() -> None:
    for section in describe.names_at(()):
        meaning, keys = describe.describe_section(section)
        assert meaning
        for key in keys:
            assert key.meaning and key.rule
            assert "[]" in key.name or key.default
    layer_keys = [key.name for key in describe.describe_section("network")[1] if "[]" in key.name]
    assert layer_keys[:2] == ["layers[].kind", "layers[].size"]


@pytest.mark.parametrize(
    ("text", "width", "sizes"),
    [
        ('preset = "vgg7"', 0.25, [16, 32, 64, 128, 128, 128]),
        ('preset = "mlp"\nhidden = [256, 128]', 1.0, [256, 128]),
        ('preset = "mlp"\nhidden = [256, 2]', 0.125, [32, 1]),
        ('preset = "mlp"\nhidden = [256]\nloss = "squared_error"', 2.0, [512, 10]),
        ('preset = "custom"\nlayers = [{kind = "conv", size = 8}, {kind = "linear", size = 32}]', 0.5, [4, 16]),
    ],
)
def test_width_scales_every_layer_but_the_classes(text: str, width: float, sizes: list[int]) -> None:
    network = parse(f"[network]\n{text}", f"network.width={width}").network
    assert [plan.size for plan in network.layer_plans(num_classes=10)] == sizes


def test_vgg_presets_have_the_layers_their_names_count() -> None:
    for preset, layers in {"vgg7": 6, "vgg10": 9, "vgg11": 10, "vgg12": 11, "vgg13": 12}.items():
        plans = parse("", f"network.preset={preset}").network.layer_plans(num_classes=10)
        assert len(plans) == layers  # the readout is outside
        assert [plan.pool for plan in plans].count("max") == 5


def test_long_values_are_shortened_in_messages() -> None:
    assert len(describe.show("x" * 1000)) == 80
