"""Components of the bill: a sentence each, and what they follow."""

from __future__ import annotations

from neurosim_ep.analysis import energy
from neurosim_ep.hardware.bill.action import following
from neurosim_ep.hardware.chip.components import Component, Follows, Part


def test_every_component_has_its_sentence_and_what_it_follows() -> None:
    assert all(part.sentence and "\n" not in part.sentence for part in Part)
    reads = {"cell_read", "line", "dac", "sample_hold", "adc", "add", "line_register", "drive_register", "input_buffer"}
    assert set(following(Follows.EVENTS)) == reads | {"partial_sum", "message", "core_transfer", "cluster_transfer"}
    assert set(following(Follows.IMAGE)) == reads | {"pool"}
    assert following(Follows.SAMPLES) == ["input", "target", "dram"]


def test_pictures_have_a_label_for_every_component() -> None:
    assert {*energy.COMPONENTS, "stored_state"} == set(Part)


def test_components_follow_the_ticks_unless_they_say_otherwise() -> None:
    class Mine(Component):
        PLAIN = "plain", "things"
        SENT = "sent", "things sent", Follows.EVENTS | Follows.SAMPLES

    assert Mine.PLAIN == "plain" and f"{Mine.SENT}" == "sent" and Mine.SENT.sentence == "things sent"
    assert Mine.PLAIN.follows is Follows.TICKS and Follows.EVENTS in Mine.SENT.follows
