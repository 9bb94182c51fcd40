"""The sections about phases and ticks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from neurosim_ep.registry import POLICIES
from neurosim_ep.scenario.names import OneOf
from neurosim_ep.scenario.schema.section import LARGEST, Rate, Rates, Section, described

LARGEST_GAIN = 10  # of feedback
Gain = Annotated[float, Field(ge=0, le=LARGEST_GAIN)]
Gains = Annotated[tuple[Gain, ...], Field(min_length=1, strict=False)]
NudgeGain = Annotated[float, Field(gt=0, le=LARGEST_GAIN)]
NudgeGains = Annotated[tuple[NudgeGain, ...], Field(min_length=1, strict=False)]


class RelaxationSection(Section):
    """The phases of equilibrium propagation."""

    free_steps: int = described(250, "ticks T of the free phase", unit="tick", ge=1, le=LARGEST)
    nudge_steps: int = described(50, "ticks K of each nudge phase", unit="tick", ge=1, le=LARGEST)
    beta: float = described(0.25, "nudging strength", ge=1e-6, le=LARGEST)
    feedback: Gain | Gains = described(
        1.0,
        "gain of what a layer passes down to the one below, to the power of the layers that an edge crosses; 1: as "
        "strong as what is passed up, 0: none; or a list, one for each depth from the second on, in a chain each layer",
    )
    nudge_feedback: Literal["feedback"] | NudgeGain | NudgeGains = described(
        "feedback",
        "gain of the displacement from the free state in the nudge phases, or a list of them; feedback: that gain, "
        "with which the rule is the gradient of an energy",
    )
    nudging: Literal["three_phase", "one_sided_plus", "one_sided_minus"] = described(
        "three_phase", "+beta and -beta from the free state, or only one of them against the free state"
    )
    state_init: Literal["zeros", "uniform"] = described(
        "zeros", "states at tick 0: 0, or uniform in [0, 1), in [-1, 1) where they have a sign"
    )
    warm_start: Literal["none", "memory", "hdf5"] = described(
        "none",
        "start a training sample where it rested in the epoch before; its states are kept in float16, in memory or in "
        "a file of the run directory",
    )
    tolerance: float = described(
        1e-4,
        "a sample leaves the free phase when no state changed by more than this; 0: every sample runs all T ticks",
        ge=0,
        lt=1,
    )
    nudge_tolerance: float = described(
        1e-2,
        "a sample leaves the nudge phases when no layer changed by more than this part of its displacement from the "
        "free state; 0: every sample runs all K ticks",
        ge=0,
        lt=1,
    )

    def broken_rules(self) -> Iterator[tuple[str, str]]:
        gains = self.feedback if isinstance(self.feedback, tuple) else [self.feedback]
        if self.nudge_feedback == "feedback" and 0 in gains:
            yield "nudge_feedback", "must be a number with feedback = 0, which passes no error down; use 1"
        if self.warm_start != "none" and self.state_init != "zeros":
            yield "warm_start", 'starts unseen samples from zeros; use state_init = "zeros" with it'

    @property
    def displacement_gain(self) -> float | tuple[float, ...] | None:
        """``nudge_feedback`` where it is a gain of its own."""
        return None if self.nudge_feedback == "feedback" else self.nudge_feedback


class SchedulerSection(Section):
    """How the ticks are computed, and what neurons send."""

    policy: Annotated[str, OneOf(POLICIES)] = described("synchronous", "order of the updates of layers")
    threshold: Rate | Rates = described(
        1e-3,
        "a neuron sends when its state moved by more than this from the value it last sent: one value, or one per "
        "layer; changes the dynamics of the event policy, is only counted with the others",
    )
    check_every: int = described(4, "ticks between tests for samples at rest", unit="tick", ge=1, le=LARGEST)
    precision: Literal["float32", "auto", "tf32", "bfloat16", "float16"] = described(
        "float32",
        "number format inside the convolutions of the phases; states and differences stay float32; auto: what "
        "this machine gains most from (tf32 on CUDA, bfloat16 on a CPU with AMX, else float32)",
    )
