"""Runs that 1, 2 and 3 processes share, in float64: `python shared_runs.py FOLDER` leaves FOLDER/<case>-<processes>.

The processes are copies of one that has everything loaded.
"""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from neurosim_ep.ranks import SLURM, TORCHRUN  # noqa: E402

SMALL = (
    "data.train_samples=21", "data.test_samples=7", "training.batch_size=10", "training.epochs=1",
    "relaxation.free_steps=6", "relaxation.nudge_steps=4", "relaxation.tolerance=0.01", "telemetry.traffic_every=1",
    "telemetry.stats_every=1", "telemetry.plots=false", "data.augment=crop_flip",
    "network.layers=[{ kind = 'conv', size = 3, pool = 'max' }, { kind = 'linear', size = 6 }]", "signals.layers=[0]",
)  # fmt: skip
"""The last of the three batches has one sample: of more processes some have none."""
PLAIN = ("signals.kind=none", "signals.layers=[]", "signals.learned=false")
TAUGHT = ("signals.kind=kd", "signals.learned=false", "teacher.epochs=1", "teacher.batch_size=7")
EIGHT_BIT = ("hardware.converters.dac_bits=8", "hardware.converters.adc_bits=8")
CASES: Mapping[str, tuple[str, ...]] = {
    "plain": (*PLAIN, "relaxation.state_init=uniform", "scheduler.policy=alternating"),
    "le": ("training.momentum=0.9", "training.clip_norm=1.0", "network.activation=hard_tanh"),
    "kd": TAUGHT,
    "event": ("scheduler.policy=event", "scheduler.threshold=0.02"),
    "tiles": (*EIGHT_BIT, "hardware.converters.adc_range=absmax", "hardware.device.preset=EcRam"),
    "fixed": (*EIGHT_BIT, "hardware.converters.adc_range=fixed", "telemetry.stats_every=2"),
    "memory": ("relaxation.warm_start=memory", "training.epochs=2"),
    "one": ("data.train_samples=2", "data.test_samples=2", "training.batch_size=2"),
}
"""What beside :data:`SMALL`."""
CALIBRATED: Mapping[str, tuple[str, ...]] = {
    "calibrated": (*EIGHT_BIT, "hardware.cells.read_noise=0.02", "hardware.converters.calibrate_every=2"),
}
"""Converters find their ranges, and reads have noise, in each process by itself."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def places(count: int, names: Sequence[str] = TORCHRUN) -> list[dict[str, str]]:
    """What torchrun would set in each of ``count`` processes, or srun with the ``names`` of its variables."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    others = dict.fromkeys(names[3:], "1")
    return [
        {**others, **meeting, **dict(zip(names, (str(number), str(count), str(number)), strict=False))}
        for number in range(count)
    ]


def together(count: int, work: Callable[[], None]) -> None:
    """Do ``work`` in ``count`` processes that know of each other by the variables of torchrun, three by those of srun.
    Raises SystemExit where one fails.
    """
    children = []
    for place in places(count, TORCHRUN if count < 3 else SLURM):
        if not (pid := os.fork()):
            code = 70
            try:
                os.environ.update(place)
                work()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    if any(codes):
        raise SystemExit(f"{count} processes ended with {codes}")


def in_float64() -> None:
    """Let runs of this process compute in float64, and ask nothing about their bill, which takes longer than they."""
    import torch

    from neurosim_ep.experiment import opening
    from neurosim_ep.experiment.model import Model
    from neurosim_ep.telemetry.tables import RunTables
    from neurosim_ep.train import trainer
    from neurosim_ep.train.warm import WarmStates

    build, prepare, start, targets = opening.build_model, trainer.prepare, WarmStates.start, opening.target_source

    def double_model(*given: Any) -> Model:
        model = build(*given).to(torch.device("cpu"), torch.float64)
        if model.tiles is not None:
            model.tiles.program()
        return model

    def double_targets(*given: Any) -> Any:
        if (source := targets(*given)) is not None:
            of = source.of
            source.of = lambda *asked: {layer: value.double() for layer, value in of(*asked).items()}
        return source

    opening.build_model, opening.target_source = double_model, double_targets
    RunTables.decide = lambda tables: []  # type: ignore[method-assign]
    trainer.prepare = lambda *given: prepare(*given).double()
    WarmStates.start = lambda *given: (found := start(*given)) and [state.double() for state in found]  # type: ignore[method-assign]


def main() -> None:
    """See above."""
    folder = Path(sys.argv[1])
    import torch

    from neurosim_ep.progress import QuietReporter
    from neurosim_ep.scenario.load import load_scenario
    from neurosim_ep.train.run import run
    from neurosim_ep.train.teach import teach

    torch.set_num_threads(1)
    cases = {**CASES, **CALIBRATED}
    chosen = sys.argv[2:] or list(cases)
    scenarios = {
        case: load_scenario("smoke", [*SMALL, *cases[case], f"signals.teacher={folder / 'teacher'}"])
        if case == "kd"
        else load_scenario("smoke", [*SMALL, *cases[case]])
        for case in chosen
    }
    if "kd" in chosen:
        teach(scenarios["kd"], None, "cpu", QuietReporter())
    in_float64()
    for count in (1, 2, 3):
        together(
            count,
            lambda count=count: [  # type: ignore[misc]
                run(scenario, folder / f"{case}-{count}", device="cpu") for case, scenario in scenarios.items()
            ],
        )


if __name__ == "__main__":
    main()
