"""Weights of a teacher that was trained elsewhere, under our names.

The modules of the file are found by the names of ``teacher.mapping``. Every tensor of the file must have a place: a
teacher that lacks a layer, or a bias, would show something else than the network that was trained.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from neurosim_ep import resources
from neurosim_ep.errors import CheckpointError
from neurosim_ep.scenario.schema import TeacherSection
from neurosim_ep.teacher.classifier import Teacher

PREFIX = "module."  # what torch.nn.DataParallel puts before every name
COUNTER = "num_batches_tracked"  # of batch normalisation: matters in training only


def read_pretrained(section: TeacherSection, teacher: Teacher, device: torch.device) -> dict[str, Tensor]:
    """The state_dict that ``teacher`` gets from the file ``section.state_dict``.

    A convolution before batch normalisation has no bias in ``teacher``; that of the file is taken off the running mean,
    which is the same in evaluation. Raises :class:`CheckpointError` naming what is missing, left over, or of another
    shape.
    """
    path = section.state_dict
    theirs = _read(path, device)
    called = dict(entry.split("=") for entry in section.mapping)
    own = teacher.state_dict()
    if unknown := [name for name in called if f"{name}.weight" not in own]:
        modules = sorted({name.rsplit(".", 1)[0] for name in own})
        raise CheckpointError(f"teacher.mapping: {unknown[0]!r} is none of {', '.join(modules)}")

    def key_of(name: str) -> str:
        module, _, parameter = name.rpartition(".")
        return f"{called.get(module, module)}.{parameter}"

    found, unused = {}, dict(theirs)
    for name, tensor in own.items():
        key = key_of(name)
        if name.endswith(COUNTER):
            found[name] = unused.pop(key, tensor)
            continue
        if key not in theirs:
            module = name.rpartition(".")[0]
            raise CheckpointError(
                f"{path}: has no {key} for {name}; say what it is called there with teacher.mapping, as "
                f'"{module}=its.name" (it has {_some(theirs)}), or choose teacher.preset, hidden and batch_norm as '
                "that network was built"
            )
        if theirs[key].shape != tensor.shape:
            raise CheckpointError(
                f"{path}: {key} has the shape {tuple(theirs[key].shape)}, but {name} needs {tuple(tensor.shape)}; "
                "choose teacher.preset, hidden, batch_norm and network.width to match"
            )
        found[name] = unused.pop(key)
    for name in [name for name in own if name.endswith("running_mean")]:
        bias = unused.pop(key_of(name.replace("bn", "conv", 1).replace("running_mean", "bias")), None)
        if bias is not None:
            found[name] = found[name] - bias
    if unused:
        raise CheckpointError(
            f"{path}: {_some(unused)} have no place in this teacher, so it would show something else than the network "
            "they are from; choose teacher.preset, hidden and batch_norm as it was built, complete teacher.mapping, or "
            "take out of the file what does not belong to the network"
        )
    return found


def _read(path: str, device: torch.device) -> dict[str, Tensor]:
    """The tensors of the file by name: those of a state_dict, or of the only one in a dictionary."""
    if not resources.at_home(path).is_file():
        raise CheckpointError(f"{path}: no such file; check teacher.state_dict")
    try:
        content = torch.load(resources.at_home(path), map_location=device, weights_only=True)
    except OSError as problem:
        raise CheckpointError(f"{path}: cannot be read ({problem.strerror}); check teacher.state_dict") from problem
    except Exception as problem:  # whatever unpickling a file of others raises
        raise CheckpointError(
            f"{path}: holds something else than tensors ({type(problem).__name__}), which is never loaded; "
            "save the weights with torch.save(model.state_dict(), ...)"
        ) from problem
    inside = [value for value in content.values() if _tensors(value)] if isinstance(content, dict) else []
    tensors = content if _tensors(content) else inside[0] if len(inside) == 1 else None
    if tensors is None:
        raise CheckpointError(f"{path}: is not a state_dict; save one with torch.save(model.state_dict(), ...)")
    if all(name.startswith(PREFIX) for name in tensors):
        return {name.removeprefix(PREFIX): value for name, value in tensors.items()}
    return dict(tensors)


def _tensors(content: object) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    )


def _some(tensors: Mapping[str, Tensor]) -> str:
    names = list(tensors)
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
