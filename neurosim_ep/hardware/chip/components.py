"""What the lines of a ledger are spent on, each with the sentence that says what is counted."""

from __future__ import annotations

from enum import Flag, StrEnum, auto
from typing import Self


class Follows(Flag):
    """What the energy of a component in the read phases follows, where it is not the number of ticks alone.

    ``EVENTS``: in event style it grows with the events; ``IMAGE``: in the first layer it is that of the static image;
    ``SAMPLES``: every sample takes it once, however long it relaxes.
    """

    TICKS = 0
    EVENTS = auto()
    IMAGE = auto()
    SAMPLES = auto()


class Component(StrEnum):
    """What a line of the ledger is spent on: a member of an enum derived from this one, as :class:`Part`, by its name,
    the sentence that says what is counted, and what that ``follows``.
    """

    sentence: str
    follows: Follows

    def __new__(cls, name: str, sentence: str, follows: Follows = Follows.TICKS) -> Self:
        member = str.__new__(cls, name)
        member._value_, member.sentence, member.follows = name, sentence, follows
        return member


READ = Follows.EVENTS | Follows.IMAGE


class Part(Component):
    """The components of the package's own chip."""

    CELL_READ = (
        "cell_read",
        "pulses in cells, active lines x used crossing lines x slices x pulses, at the mean conductance of the levels; "
        "settling: cell-seconds, with unit energy in W",
        READ,
    )
    DAC = "dac", "pulses on lines, those of every slice's array; in the update the drivers of the scheme", READ
    SAMPLE_HOLD = "sample_hold", "samples, one per conversion", READ
    ADC = "adc", "conversions, one per sensed line, slice and read, or per input pulse where each is converted", READ
    ADD = "add", "one per conversion (pair difference, slices, pulses, col2im), and sums of several drives", READ
    PARTIAL_SUM = "partial_sum", "bits x links of results to where they are gathered", Follows.EVENTS
    MESSAGE = "message", "bits x links of states to the tiles that they drive", Follows.EVENTS
    INPUT = "input", "bits x links of the static input from the chip's port", Follows.SAMPLES
    TARGET = "target", "bits x links of stored targets from the chip's port", Follows.SAMPLES
    DRAM = "dram", "bits of images and stored targets that come from outside the chip", Follows.SAMPLES
    NEURON = "neuron", "state updates, event test included; settling: neuron-seconds, with unit energy in W"
    POOL = (
        "pool",
        "comparisons (max) or additions (avg), one per pre-pool output and tick, in layer 0 once per sample",
        Follows.IMAGE,
    )
    REGISTER = (
        "register",
        "state bits, read and written in every tick and copied once per sample and phase, and the argmax routing of "
        "max-pooled layers above the first, written and read in every tick",
    )
    READOUT = (
        "readout",
        "multiply-adds: 2 x features x classes per nudge tick (logits, and the error back to the states), features x "
        "classes per sample at the end of the free phase, and per sample and nudge phase for the update; the softmax "
        "itself is left out",
    )
    SIGNAL = "signal", "multiply-adds, as of the readout, without those of the free phase"
    CELL_WRITE = "cell_write", "programming pulses of the update"
    UPDATE_ADD = "update_add", "multiply-adds of the accumulators of weight changes"
    UPDATE_MEMORY = "update_memory", "bits of these accumulators, read and written"
    LEAKAGE = (
        "leakage", "tile-seconds, and seconds of the memories of a layer (tile -1), with unit energy in W",
    )  # fmt: skip
    STORED_STATE = "stored_state", "state bits that backpropagation keeps from its forward to its backward pass"
