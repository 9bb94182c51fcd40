"""Published tables of a hardware model: memories against their size, and technology against its node."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from neurosim_ep.hardware.model.quantities import Coefficient, Text, Unit, key
from neurosim_ep.strict import Strict

Positive = Annotated[float, Field(gt=0)]
Abscissae = Annotated[tuple[Positive, ...], Field(min_length=2, strict=False)]
Ordinates = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=2, strict=False)]


class Curve(Strict):
    """Points (x, y) with a source, joined by straight lines on logarithmic axes; or 0 throughout."""

    x: Abscissae
    y: Ordinates
    x_unit: str
    unit: str
    source: Text
    kind: Literal["measured", "model", "assumed"]

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if len(self.x) != len(self.y):
            raise ValueError(f"x has {len(self.x)} points, y has {len(self.y)}; give as many")
        if any(later <= earlier for earlier, later in zip(self.x, self.x[1:], strict=False)):
            raise ValueError(f"x must ascend, but is {list(self.x)}")
        if any(self.y) != all(self.y):
            raise ValueError(f"y must be above 0 at every x, or 0 at every x, but is {list(self.y)}")
        return self

    def at(self, x: float) -> float:
        """y at ``x``; beyond the first and last point it stays what it is there."""
        return float(self.at_each(np.array(x)))

    def at_each(self, x: np.ndarray) -> np.ndarray:
        """y at each of ``x``, float64."""
        if not any(self.y):
            return np.zeros(x.shape)
        return np.exp(np.interp(np.log(x), np.log(self.x), np.log(self.y)))

    def covers(self, x: float) -> bool:
        """Whether ``x`` lies between the first and the last point."""
        return self.x[0] <= x <= self.x[-1]


class NodeCurve(Curve):
    """A property of logic or wires against the technology node, relative to any one node."""

    x_unit: Literal["nm"]
    unit: Literal["1"]


class SizeCurve(Curve, Generic[Unit]):
    """A property of a memory against its size, in the unit of its type."""

    x_unit: Literal["bit"]
    unit: Unit
    node_nm: Positive

    def times(self, factor: float, node_nm: float) -> Self:
        """The curve multiplied by ``factor``, as one for ``node_nm``."""
        return self.model_copy(update={"y": tuple(y * factor for y in self.y), "node_nm": node_nm})


SizeEnergyCurve = SizeCurve[Literal["J/bit"]]
SizeAreaCurve = SizeCurve[Literal["m^2/bit"]]


class ScalingSection(Strict):
    """How numbers given for one technology node are carried to another.

    Curves, and for converters powers of the node. Cells of non-volatile devices do not scale: their voltages, times and
    conductances are those of the device.
    """

    logic_energy: Annotated[NodeCurve, key("energy of logic and memories")]
    logic_area: Annotated[NodeCurve, key("area of logic and memories")]
    leakage: Annotated[NodeCurve, key("static power of the same circuit")]
    wire_energy: Annotated[NodeCurve, key("energy of a bit along a metre of wire")]
    adc_energy_exponent: Annotated[Coefficient, key("power of the node that the energy of a converter follows")]
    adc_area_exponent: Annotated[Coefficient, key("power of the node that the area of a converter follows")]
    sram_area: Annotated[NodeCurve | None, key("area of a cell of SRAM; default: that of logic")] = None

    def factor(self, rule: str, given_nm: float, wanted_nm: float) -> float:
        """What a number given for ``given_nm`` is multiplied by at ``wanted_nm``. Raises ValueError beyond a curve."""
        if given_nm == wanted_nm:
            return 1.0
        if rule == "leakage_density":
            return self.factor("leakage", given_nm, wanted_nm) / self.factor("logic_area", given_nm, wanted_nm)
        law = self.sram_area or self.logic_area if rule == "sram_area" else getattr(self, rule)
        if isinstance(law, Coefficient):
            return float((wanted_nm / given_nm) ** law.value)
        for node_nm in (given_nm, wanted_nm):
            if not law.covers(node_nm):
                raise ValueError(
                    f"scaling.{rule} knows {law.x[0]:g} to {law.x[-1]:g} nm, not {node_nm:g} nm; "
                    "give the number at the node of the model"
                )
        result: float = law.at(wanted_nm) / law.at(given_nm)
        return result
