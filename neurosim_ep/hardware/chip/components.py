"""What the lines of a bill are spent on, each with the sentence that says what is counted."""

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
    """What a line of the bill is spent on: a member of an enum derived from this one, as :class:`Part`, by its name,
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
    LINE = "line", "pulses on lines x crossing cells that they charge", READ
    SAMPLE_HOLD = "sample_hold", "samples, one per conversion", READ
    ADC = "adc", "conversions, one per sensed line, slice and read, or per input pulse where each is converted", READ
    ADD = "add", "one per conversion (pair difference, slices, pulses, col2im), and sums of several drives", READ
    LINE_REGISTER = (
        "line_register",
        "bits of the states that drive lines, written and read at each read of a tile; event: of those that changed",
        READ,
    )
    DRIVE_REGISTER = (
        "drive_register", "bits of the sums of a tile, read and written once for each line of a read", READ,
    )  # fmt: skip
    INPUT_BUFFER = "input_buffer", "bits of states that arrive at tiles, and that their lines take", READ
    CORE_TRANSFER = "core_transfer", "bits x transfers over the networks inside cores", Follows.EVENTS
    CLUSTER_TRANSFER = "cluster_transfer", "bits x transfers over the networks inside clusters", Follows.EVENTS
    PARTIAL_SUM = (
        "partial_sum",
        "bits x links of sums, with headers, on the way to where they are gathered",
        Follows.EVENTS,
    )
    MESSAGE = "message", "bits x links of states, with headers, to the tiles that they drive", Follows.EVENTS
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
        "leakage",
        "seconds of tiles, those that wait counted by leakage.idle_share, and of what stands beside them in a layer "
        "(tile -1): memories, routers, what cores and clusters share; unit energy in W",
    )
    REFRESH = "refresh", "seconds of the dynamic memories of a layer, with unit energy in W"
    STORED_STATE = "stored_state", "state bits that backpropagation keeps from its forward to its backward pass"
