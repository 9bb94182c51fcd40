"""What the figures of a diagnosis mean, in sentences: each follows from figures by the rule that stands with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from neurosim_ep.telemetry.resolution import RESOLVED

Row = Mapping[str, Any]

DEAD = 0.5  # fraction of dead neurons from which a layer counts as mostly dead
RIGID = 0.05  # fraction of neurons in the linear part below which a layer hardly passes errors on
CONSTANT = 1e-3  # standard deviation across samples below which a layer hardly depends on the input
ABOVE_DRIFT = 2.0  # displacement over drift from which a nudge is told from a free phase that goes on
ODD = 0.5  # asymmetry up to which an answer counts as odd in β
PROPORTIONAL = 0.25  # deviation from proportionality to β, relative, up to which an answer counts as linear
BIASED = 0.5  # distance of a one-sided gradient, relative, from which its bias is worth a word
CLIPPED = 0.01  # share of conversions from which clipping is worth a word
AT_BOUNDS = 0.1  # share of devices at a bound from which they are worth a word
DRIFT = 0.5  # drift by the asymmetry of pulses, over the change that was meant, from which it decides the learning
AT_SYMMETRY = 0.3  # share of devices at their symmetry point, about twice that of evenly spread weights
COUNTED = 0.5  # counting noise over the net change of a weight from which it is worth a word
CANCELLED = 10.0  # pulses for one that stays from which this noise is not that of a few single pulses


def findings(samples: Sequence[Row], layers: Sequence[Row], scalars: Mapping[str, Any]) -> list[str]:
    """All findings about ``samples`` and ``layers`` (rows of the tables) and the ``scalars`` of a diagnosis."""
    return [
        *_motion(samples, scalars),
        *_contraction(samples),
        *_theorem(samples, scalars),
        *_iterations(scalars),
        *_saturation(layers),
        *_nudge(layers),
        *_bias(layers),
        *_feedback(scalars),
        *_converters(layers),
        *_devices(layers),
    ]


def _motion(samples: Sequence[Row], scalars: Mapping[str, Any]) -> Iterator[str]:
    kinds, free = Counter(row["kind"] for row in samples), scalars["free_phase"]
    everyone = f"of {len(samples)} samples"
    yield (
        f"{kinds['at rest']} {everyone} are at rest after {free['ticks']} ticks: no state changed by more than "
        f"{free['tolerance']:g} in the last step"
    )
    if kinds["period-2"]:
        yield f"{kinds['period-2']} {everyone} oscillate with period 2"
    if kinds["slow"]:
        yield f"{kinds['slow']} {everyone} still move, but ever less: they need more ticks"
    if kinds["other"]:
        yield f"{kinds['other']} {everyone} move neither ever less nor with period 2"


def _contraction(samples: Sequence[Row]) -> Iterator[str]:
    largest = max(row["spectral_radius"] for row in samples)
    expanding = Counter(row["kind"] for row in samples if row["spectral_radius"] > 1)
    if expanding:
        kinds = ", ".join(f"{count} {kind}" for kind, count in expanding.most_common())
        yield (
            f"spectral radius > 1 at the end of {expanding.total()} of {len(samples)} samples ({kinds}), at most "
            f"{largest:.3g}: there the free map does not contract, small differences grow"
        )
    else:
        yield (
            f"spectral radius < 1 at the end of all {len(samples)} samples, at most {largest:.3g}: the free map "
            f"contracts there, a small difference shrinks at least to {largest:.3g} of itself per tick in the long run"
        )


def _theorem(samples: Sequence[Row], scalars: Mapping[str, Any]) -> Iterator[str]:
    holding = sum(row["margin"] > 0 for row in samples)
    unheld = sum(scalars["theorem"]["c"] * row["L_phi"] >= 1 for row in samples)
    yield (
        f"the condition of Theorem 3.1 holds at the end of {holding} of {len(samples)} samples, without the nudge "
        f"(c·L_Φ < 1) of {len(samples) - unheld}; it is sufficient for contraction, not necessary, and L_Φ is an "
        "estimate from below"
    )


def _iterations(scalars: Mapping[str, Any]) -> Iterator[str]:
    for name, title in (
        ("L_phi", "L_Φ"), ("L_phi_nudge", "L_Φ of the displacement"), ("spectral_radius", "the spectral radius"),
    ):  # fmt: skip
        figure = scalars[name]
        if figure["unconverged"] and (name != "L_phi_nudge" or figure != scalars["L_phi"]):
            yield (
                f"{title} of {figure['unconverged']} samples had not converged after {figure['iterations']} power "
                f"iterations (last relative change up to {figure['largest_change']:.1e}): read these as lower bounds"
            )


def _saturation(layers: Sequence[Row]) -> Iterator[str]:
    if dead := _named(layers, "dead", lambda value: value >= DEAD, ".0%"):
        yield f"mostly dead, neurons at 0, or signed ones at a bound, in all samples: {dead}"
    if rigid := _named(layers, "linear", lambda value: value < RIGID, ".1%"):
        yield f"hardly any neuron can pass an error on, by share of drives where σ' is not 0: {rigid}"
    if constant := _named(layers, "std_across_samples", lambda value: value < CONSTANT, ".1e"):
        yield f"states hardly depend on the input, by standard deviation across samples: {constant}"


def _nudge(layers: Sequence[Row]) -> Iterator[str]:
    hidden = [row["name"] for row in layers if row["displacement_plus"] < ABOVE_DRIFT * row["drift"]]
    if hidden:
        yield (
            f"displaced less than {ABOVE_DRIFT:g} times as far as without any nudge, as the free phase is not over: "
            f"{', '.join(hidden)}; only differences between phases (net displacement, three-phase gradient) show the "
            "nudge there"
        )
    still = [row["name"] for row in layers if row["net_plus"] == row["net_minus"] == 0]
    if still:
        yield f"not moved by the nudge at all: {', '.join(still)}"
    if odd := _named(layers, "net_asymmetry", lambda value: value > ODD, ".2f"):
        yield f"+β and −β do not push in opposite directions, by net asymmetry: {odd}"
    shown = [row for row in layers if row["name"] not in hidden]
    if bent := _named(shown, "twice_beta", lambda value: abs(value - 1) > PROPORTIONAL, ".2f"):
        yield f"twice β does not displace twice as far, by displacement over twice that at β: {bent}"


def _bias(layers: Sequence[Row]) -> Iterator[str]:
    if biased := _named(layers, "one_sided_distance", lambda value: value > BIASED, ".2f"):
        yield f"one-sided gradients differ much from the three-phase one, by relative distance: {biased}"


def _feedback(scalars: Mapping[str, Any]) -> Iterator[str]:
    found = scalars["feedback"]
    if found["note"]:
        cosines = ", ".join(f"{name} {value:.3f}" for name, value in found["loss_cosines"].items() if value is not None)
        measured = f"; cosine with the gradient of the loss through the free rest: {cosines}" if cosines else ""
        yield f"{found['note']}{measured}"


def _converters(layers: Sequence[Row]) -> Iterator[str]:
    if coarse := _named(layers, "nudge_per_step", lambda value: value < RESOLVED, ".2g"):
        yield (
            "converters are too coarse for the nudge, by |s⁺ − s⁻| in conversion steps: "
            f"{coarse}; below {RESOLVED:g} both nudge phases mostly get the same codes, and the gradient is rounding"
        )
    for direction in ("forward", "transposed"):
        if clipped := _named(layers, f"clipped_{direction}", lambda value: value > CLIPPED, ".1%"):
            yield f"conversions are clipped, by share of the {direction} read in the nudge phases: {clipped}"


def _devices(layers: Sequence[Row]) -> Iterator[str]:
    stuck = [
        f"{row['name']} {row['devices_at_lower']:.0%} and {row['devices_at_upper']:.0%}"
        for row in layers
        if row["devices_at_lower"] is not None and row["devices_at_lower"] + row["devices_at_upper"] >= AT_BOUNDS
    ]
    if stuck:
        yield f"devices are stuck at the bounds of their weight, by share below and above: {', '.join(stuck)}"
    drifting = [
        f"{row['name']} {row['drift_per_net']:.1f} (1 of {row['cancellation']:.0f} pulses stays, asymmetry "
        f"{row['device_abs_asymmetry']:.1%})"
        for row in layers
        if row["drift_per_net"] is not None and row["drift_per_net"] >= DRIFT
    ]
    if drifting:
        yield (
            "pulses up and down of a weight nearly cancel, their asymmetry does not: the drift that it gives is so "
            f"many times the net change: {', '.join(drifting)}"
        )
    counted = [
        f"{row['name']} {row['counting_noise']:.1f} (1 of {row['cancellation']:.0f} pulses stays)"
        for row in layers
        if row["counting_noise"] is not None and row["counting_noise"] >= COUNTED and row["cancellation"] >= CANCELLED
    ]
    if counted:
        yield (
            "what is left of the pulses of both terms is mostly counting noise: coincidences of random trains vary by "
            f"the square root of their number, so many times the net change: {', '.join(counted)}; "
            "deterministic trains do not, nor does update = difference"
        )
    if resting := _named(layers, "devices_at_symmetry", lambda value: value >= AT_SYMMETRY, ".0%"):
        yield (
            "weights lie at the symmetry point of their devices, to which balanced pulses drive them whatever they "
            f"have learned, by share of devices: {resting}"
        )


def _named(layers: Sequence[Row], column: str, rule: Any, form: str) -> str:
    """The layers whose value in ``column`` meets ``rule``, each with the value."""
    known = [(row["name"], row[column]) for row in layers if row[column] is not None]
    return ", ".join(f"{name} {value:{form}}" for name, value in known if rule(value))
