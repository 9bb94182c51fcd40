"""Deep networks trained by equilibrium propagation as a crossbar chip would, with the chip's bill.

The names below are the public API; they are loaded when first used, so that the command line starts fast.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurosim_ep.threads import wait_passively

if TYPE_CHECKING:
    from neurosim_ep.ep.network import Network, build_network
    from neurosim_ep.ep.signals import Errors, build_signals
    from neurosim_ep.reader import RunReader, load_network, open_run
    from neurosim_ep.record.frames import Traffic, read_traffic
    from neurosim_ep.scenario.load import load_scenario
    from neurosim_ep.scheduler.feedforward import backprop_gradients
    from neurosim_ep.scheduler.presentation import EPGradients, Phases, ep_gradients, free_phase
    from neurosim_ep.scheduler.schedule import Schedule
    from neurosim_ep.scheduler.unrolled import Unrolling, bptt_gradients
    from neurosim_ep.train.result import RunResult
    from neurosim_ep.train.resume import resume
    from neurosim_ep.train.run import run

__version__ = "0.2.0"
__all__ = [
    "EPGradients",
    "Errors",
    "Network",
    "Phases",
    "RunReader",
    "RunResult",
    "Schedule",
    "Traffic",
    "Unrolling",
    "backprop_gradients",
    "bptt_gradients",
    "build_network",
    "build_signals",
    "ep_gradients",
    "free_phase",
    "load_network",
    "load_scenario",
    "open_run",
    "read_traffic",
    "resume",
    "run",
]

_PUBLIC = {
    "neurosim_ep.ep.network": ("Network", "build_network"),
    "neurosim_ep.ep.signals": ("Errors", "build_signals"),
    "neurosim_ep.reader": ("RunReader", "load_network", "open_run"),
    "neurosim_ep.record.frames": ("Traffic", "read_traffic"),
    "neurosim_ep.scenario.load": ("load_scenario",),
    "neurosim_ep.scheduler.feedforward": ("backprop_gradients",),
    "neurosim_ep.scheduler.presentation": ("EPGradients", "Phases", "ep_gradients", "free_phase"),
    "neurosim_ep.scheduler.schedule": ("Schedule",),
    "neurosim_ep.scheduler.unrolled": ("Unrolling", "bptt_gradients"),
    "neurosim_ep.train.result": ("RunResult",),
    "neurosim_ep.train.resume": ("resume",),
    "neurosim_ep.train.run": ("run",),
}
_HOMES = {name: home for home, names in _PUBLIC.items() for name in names}

wait_passively()

_BESIDE = Path(__file__).resolve().parent.parent
if (_BESIDE / "hwmodels/__init__.py").is_file():  # a checkout: hwmodels, scenarios and analysis lie beside the package
    __path__.append(str(_BESIDE))


def __getattr__(name: str) -> Any:
    """Load a public name from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({"__version__", *__all__})
