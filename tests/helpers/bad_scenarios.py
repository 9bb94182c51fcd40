"""Bad scenario files and overrides, and what the one line about each must say."""

from __future__ import annotations

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
    "batch of the largest number": (
        f"[training]\nbatch_size = {2**63 - 1}",
        f"training.batch_size = {2**63 - 1}: must be an integer >= 1 and <= 1000000",
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
        '"cifar10", "cifar100", "idx", "folder", "textures"; did you mean "cifar10"?',
    ),
    "bad choice, far": ('[data]\nkind = "zzz"', 'data.kind = "zzz": must be one of "cifar10"'),
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
    "root of textures": (
        '[data]\nroot = "images"',
        'data.root = "images": is not for kind = "textures", which takes classes; remove it',
    ),
    "classes of CIFAR-10": (
        '[data]\nkind = "cifar10"\nclasses = 100',
        'data.classes = 100: is not for kind = "cifar10", which takes root; remove it',
    ),
    "image size of textures": (
        "[data]\nimage_size = 64",
        'data.image_size = 64: is not for kind = "textures", which takes classes; remove it',
    ),
    "conv after linear": (
        '[network]\npreset = "custom"\nlayers = [{kind = "linear", size = 8}, {kind = "conv", size = 8}]',
        "conv layers must come before linear layers",
    ),
    "mlp without hidden": (
        '[network]\npreset = "mlp"',
        'network.hidden = []: must list at least one layer with preset = "mlp"',
    ),
    "hidden without mlp": ("[network]\nhidden = [64]", "network.hidden = [64]: lists the layer sizes"),
    "custom without layers": ('[network]\npreset = "custom"', "network.layers = []: must list at least one layer with"),
    "nothing but a class layer": (
        '[network]\npreset = "custom"\nloss = "squared_error"',
        'network.layers = []: must list at least one layer with preset = "custom", whatever the loss',
    ),
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
        '[signals]\nkind = "le"\nlayers = [0]\nalpha_min = 2\nalpha_schedule = "linear"',
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
    "Nesterov without momentum": (
        "[training]\nnesterov = true\nmomentum = 0",
        "training.nesterov = true: looks ahead along the momentum, which is 0; remove it, or set momentum",
    ),
    "a warm-up of all epochs": (
        "[training]\nwarmup = 2.0\nepochs = 2",
        "training.warmup = 2.0: must be shorter than training.epochs (2)",
    ),
    "scales for other layers": (
        "[network]\nweight_scale = [1, 1]",
        "network.weight_scale = [1, 1]: has 2 factors for 10 layers; give one factor for all layers or exactly one",
    ),
    "backpropagation of signals": (
        '[plasticity]\nrule = "backprop"\n[signals]\nkind = "le"\nlayers = [0]',
        'signals.kind = "le": must be "none" with plasticity.rule = "backprop"',
    ),
    "a warm start without a free phase": (
        '[plasticity]\nrule = "backprop"\n[relaxation]\nwarm_start = "memory"',
        'relaxation.warm_start = "memory": must be "none" with plasticity.rule = "backprop"',
    ),
    "backpropagation in half precision": (
        '[plasticity]\nrule = "backprop"\n[scheduler]\nprecision = "auto"',
        'scheduler.precision = "auto": must be "float32" or "tf32" with plasticity.rule = "backprop"',
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
