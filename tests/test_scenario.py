"""Scenario files: defaults, overrides, writing back, and what each bad scenario is told."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
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
    description=st.text(),
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


# What a bad file is told: TOML text and what the one line about it must say.
BAD_FILES = {
    "unknown section, near": ("[netwrok]\nwidth = 1", "netwrok: unknown section; did you mean network?"),
    "unknown section, far": ("[zzz]", "zzz: unknown section; sections: scenario, data, network,"),
    "unknown key, near": (
        "[training]\nepoch = 3",
        "training.epoch = 3: unknown key; did you mean training.epochs?",
    ),
    "unknown key, far": ("[training]\nzzz = 3", "training.zzz = 3: unknown key; keys of training: epochs,"),
    "key of another section": (
        "[training]\nseed = 3",
        "training.seed = 3: unknown key; did you mean scenario.seed?",
    ),
    "key outside of sections": (
        "epochs = 3",
        "epochs = 3: stands outside of the sections; did you mean teacher.epochs or training.epochs?",
    ),
    "unknown key outside": ("zzz = 3", "zzz = 3: stands outside of the sections; keys stand under"),
    "section is a number": ("network = 3", "network = 3: must be a table of keys"),
    "section is a list": ("[[network]]\nwidth = 1.0", 'network = [{"width": 1.0}]: must be a table of keys'),
    "nested section": ("[training.sgd]\nx = 1", 'training.sgd = {"x": 1}: unknown key'),
    "text for an integer": (
        '[training]\nepochs = "3"',
        'training.epochs = "3": must be an integer >= 1 and <= 1000000',
    ),
    "fraction for an integer": ("[training]\nepochs = 2.5", "training.epochs = 2.5: must be an integer >= 1"),
    "boolean for an integer": ("[training]\nepochs = true", "training.epochs = true: must be an integer"),
    "boolean for a number": (
        "[network]\nwidth = true",
        "network.width = true: must be a number > 0 and <= 8",
    ),
    "number for a boolean": ("[data]\nnormalise = 1", "data.normalise = 1: must be true or false"),
    "number for text": ("[data]\nroot = 3", "data.root = 3: must be text; put it in quotes"),
    "date for an integer": (
        "[scenario]\nseed = 1979-05-27",
        'scenario.seed = "1979-05-27": must be an integer',
    ),
    "list for a number": ("[relaxation]\nbeta = [0.1]", "relaxation.beta = [0.1]: must be a number >= 1e-06"),
    "table for a choice": ("[network]\npreset = {a = 1}", 'network.preset = {"a": 1}: must be one of "vgg7"'),
    "too small": ("[training]\nepochs = 0", "training.epochs = 0: must be an integer >= 1"),
    "too large": ("[network]\nwidth = 9", "network.width = 9: must be a number > 0 and <= 8"),
    "learning rate beyond float32": (
        "[training]\nlearning_rate = 1e42",
        "training.learning_rate = 1e+42: must be a number >= 0 and <= 1000000 or a non-empty list of these",
    ),
    "weight decay beyond float32": (
        "[training]\nweight_decay = 1e300",
        "training.weight_decay = 1e+300: must be a number >= 0 and <= 1000000",
    ),
    "exponent beyond every number": (
        "[signals]\ntemperature_exponent = 2000",
        "signals.temperature_exponent = 2000: must be a number >= 0 and <= 10",
    ),
    "batch beyond 64 bits": (
        f"[training]\nbatch_size = 1{22 * '0'}",
        f"training.batch_size = 1{22 * '0'}: must be an integer >= 1 and <= 1000000",
    ),
    "at an open bound": ("[training]\nmomentum = 1", "training.momentum = 1: must be a number >= 0 and < 1"),
    "seed too large": (
        "[scenario]\nseed = 2147483648",
        "scenario.seed = 2147483648: must be an integer >= 0 and < 2147483648",
    ),
    "infinite": ("[relaxation]\nbeta = inf", "relaxation.beta = Infinity: must be finite"),
    "not a number": ("[network]\nweight_scale = nan", "network.weight_scale = NaN: must be finite"),
    "bad choice, near": (
        '[data]\nkind = "cifar"',
        '"textures", "cifar10", "cifar100", "idx", "folder"; did you mean "cifar10"?',
    ),
    "bad choice, far": ('[data]\nkind = "zzz"', 'data.kind = "zzz": must be one of "textures"'),
    "bad number of classes": ("[data]\nclasses = 20", "data.classes = 20: must be one of 10, 100"),
    "bad name": ('[scenario]\nname = "a b"', 'scenario.name = "a b": must be text of the form'),
    "activation, bad text": ('[network]\nactivation = "relo"', 'or a list of these; did you mean "relu"?'),
    "activation, bad item": (
        '[network]\nactivation = ["relu", "relo"]',
        'network.activation[1] = "relo": must be one of "hard_sigmoid"',
    ),
    "rates, none": (
        "[training]\nlearning_rate = []",
        "training.learning_rate = []: must be a number >= 0 and <= 1000000 or a non-empty list of these",
    ),
    "rates, bad item": (
        "[training]\nlearning_rate = [0.1, -1]",
        "training.learning_rate[1] = -1: must be a number >= 0",
    ),
    "rate, negative": (
        "[training]\nlearning_rate = -0.1",
        "training.learning_rate = -0.1: must be a number >= 0",
    ),
    "rate, text": ('[training]\nlearning_rate = "fast"', 'learning_rate = "fast": must be a number >= 0'),
    "layer without size": (
        '[network]\npreset = "custom"\nlayers = [{kind = "conv"}]',
        "network.layers[0].size is missing and must be an integer >= 1",
    ),
    "layer is a number": (
        '[network]\npreset = "custom"\nlayers = [64]',
        "network.layers[0] = 64: must be a table of keys",
    ),
    "unknown key of a layer": (
        '[[network.layers]]\nkind = "conv"\nsize = 8\npol = "max"',
        'network.layers[0].pol = "max": unknown key; did you mean network.layers[0].pool?',
    ),
    "pooled linear layer": (
        '[[network.layers]]\nkind = "linear"\nsize = 8\npool = "max"',
        'network.layers[0].pool = "max": belongs to conv layers; remove it',
    ),
    "kernel of a linear layer": (
        '[[network.layers]]\nkind = "linear"\nsize = 8\nkernel = 5',
        "network.layers[0].kernel = 5: belongs to conv layers; remove it",
    ),
    "padding of a linear layer": (
        '[[network.layers]]\nkind = "linear"\nsize = 8\npadding = 0',
        "network.layers[0].padding = 0: belongs to conv layers; remove it",
    ),
    "pool of an mlp": (
        '[network]\npreset = "mlp"\nhidden = [8]\npool = "avg"',
        'network.pool = "avg": belongs to the VGG presets; remove it',
    ),
    "root of textures": ('[data]\nroot = "images"', 'data.root = "images": textures are made, not read; remove it'),
    "classes of CIFAR-10": (
        '[data]\nkind = "cifar10"\nclasses = 100',
        'data.classes = 100: is for kind = "textures", other images bring their classes; remove it',
    ),
    "image size of textures": (
        "[data]\nimage_size = 64",
        'data.image_size = 64: is for kind = "folder", other images have one size; remove it',
    ),
    "conv after linear": (
        '[network]\npreset = "custom"\nlayers = [{kind = "linear", size = 8}, {kind = "conv", size = 8}]',
        "conv layers must come before linear layers",
    ),
    "mlp without hidden": (
        '[network]\npreset = "mlp"',
        'network.hidden = []: lists the layer sizes of preset = "mlp"',
    ),
    "hidden without mlp": ("[network]\nhidden = [64]", "network.hidden = [64]: lists the layer sizes"),
    "custom without layers": ('[network]\npreset = "custom"', "network.layers = []: lists the layers of"),
    "signals without layers": (
        '[signals]\nkind = "le"',
        "signals.layers = []: must list the layers that get a signal",
    ),
    "signal layer twice": (
        '[signals]\nkind = "le"\nlayers = [1, 1]',
        "signals.layers = [1, 1]: names a layer twice",
    ),
    "negative signal layer": (
        '[signals]\nkind = "le"\nlayers = [-1]',
        "signals.layers[0] = -1: must be an integer >= 0",
    ),
    "alpha_min above alpha": (
        '[signals]\nkind = "le"\nlayers = [0]\nalpha_min = 2',
        "signals.alpha_min = 2: must not exceed alpha (1)",
    ),
    "signal layer beyond the network": (
        '[signals]\nkind = "le"\nlayers = [0, 10]',
        "signals.layers = [0, 10]: layer 10 does not exist; this network has layers 0 to 9",
    ),
    "activations for other layers": (
        '[network]\nactivation = ["relu"]',
        'network.activation = ["relu"]: has 1 name for 10 layers; give one name for all layers or exactly one per',
    ),
    "rates for other layers": (
        '[network]\nloss = "squared_error"\n[training]\nlearning_rate = [1, 1]',
        "training.learning_rate = [1, 1]: has 2 rates for 11 layers; give one rate for all layers or exactly one",
    ),
    "a teacher's module twice": (
        '[teacher]\nstate_dict = "a.pt"\nmapping = ["conv1=a", "conv1=b"]',
        "names 'conv1' twice; give each module one entry",
    ),
    "hidden layers of the network's own teacher": (
        "[teacher]\nhidden = [64]",
        "teacher.hidden = [64]: belongs to the VGG presets; remove it",
    ),
    "colours of a teacher that is trained here": (
        "[teacher]\nmean = [0.5]",
        "teacher.mean = [0.5]: belongs to state_dict; remove it",
    ),
    "half of a teacher's colours": (
        '[teacher]\nstate_dict = "a.pt"\nmean = [0.5]',
        "teacher.mean = [0.5]: and std belong together; give both, or none",
    ),
    "colours without deviation": (
        '[teacher]\nstate_dict = "a.pt"\nmean = [0.5]\nstd = [0.0]',
        "teacher.std = [0.0]: must be > 0 in every channel",
    ),
    "BPTT steps without BPTT": (
        "[plasticity]\nbptt_steps = 3",
        'plasticity.bptt_steps = 3: is for rule = "bptt"; remove it',
    ),
    "BPTT through another policy": (
        '[plasticity]\nrule = "bptt"\n[scheduler]\npolicy = "event"',
        'scheduler.policy = "event": must be "synchronous" with plasticity.rule = "bptt"',
    ),
    "BPTT in reduced precision": (
        '[plasticity]\nrule = "bptt"\n[scheduler]\nprecision = "bfloat16"',
        'scheduler.precision = "bfloat16": must be "float32" with plasticity.rule = "bptt"',
    ),
    "BPTT beyond the free phase": (
        '[plasticity]\nrule = "bptt"\nbptt_steps = 9\n[relaxation]\nfree_steps = 8',
        "relaxation.free_steps = 8: must be at least plasticity.bptt_steps (9), the ticks BPTT goes back",
    ),
    "BPTT through K > T": (
        '[plasticity]\nrule = "bptt"\n[relaxation]\nfree_steps = 8\nnudge_steps = 9',
        "relaxation.free_steps = 8: must be at least relaxation.nudge_steps (9), the ticks BPTT goes back",
    ),
}

# What a bad --set is told: the override and what the one line about it must say.
BAD_OVERRIDES = {
    "without value": ("training.epochs", "--set training.epochs: must be section.key=value"),
    "of nothing": ("training.epochs=", "--set training.epochs=: must be section.key=value"),
    "without section": ("epochs=3", "--set epochs=3: must be section.key=value"),
    "without key": ("training.=3", "--set training.=3: must be section.key=value"),
    "open list": ("network.hidden=[1", "--set network.hidden=[1: is not valid TOML"),
    "bare list": ("network.activation=[relu]", "write lists as [1, 2] and text in lists in"),
    "open quote": ('data.kind="idx', '--set data.kind="idx: is not valid TOML'),
    "unknown section": ("netwrok.width=1", "netwrok: unknown section; did you mean network?"),
    "unknown key": ("network.widht=1", "network.widht (--set) = 1: unknown key; did you mean network.width?"),
    "dotted index": (
        "network.layers.0.size=3",
        "network.layers.0.size (--set) = 3: unknown key; did you mean network.layers?",
    ),
    "word for a number": (
        "training.epochs=many",
        'training.epochs (--set) = "many": must be an integer >= 1',
    ),
    "Python boolean": ("data.normalise=True", 'data.normalise (--set) = "True": must be true or false'),
    "date as name": (
        "scenario.name=2020-01-01",
        'scenario.name (--set) = "2020-01-01": must be text of the form',
    ),
    "second key smuggled in": (
        "training.epochs=3\n[data]",
        'training.epochs (--set) = "3\\n[data]": must be an integer',
    ),
}


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
        (b"PK\x03\x04\x00\x00", "line 1 is not valid TOML"),
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

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(ScenarioError, match="cannot be read: Permission denied"):
        load_scenario(write(tmp_path, b""))


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
