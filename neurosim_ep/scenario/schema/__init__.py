"""The sections of a scenario file, one frozen model each.

Every field carries its meaning in ``description`` and, where it has one, its unit in ``json_schema_extra``;
``neurosim-ep schema`` prints both. Rules of one value stand with its field, rules between the keys of a section in the
section's ``broken_rules``, and rules between sections (layers named in one, made in another) in that of
:class:`Scenario`. What depends on files, as the shapes of images and the hardware model do, is checked where they
are read.
"""

from neurosim_ep.scenario.schema.dynamics import RelaxationSection, SchedulerSection
from neurosim_ep.scenario.schema.learning import PlasticitySection, SignalsSection, TeacherSection, TrainingSection
from neurosim_ep.scenario.schema.network import DataSection, EdgeSpec, LayerSpec, NetworkSection
from neurosim_ep.scenario.schema.section import Section
from neurosim_ep.scenario.schema.tiles import CellsSection, ConvertersSection, DeviceSection, HardwareSection
from neurosim_ep.scenario.schema.whole import Scenario, ScenarioSection, TelemetrySection

__all__ = [
    "CellsSection",
    "ConvertersSection",
    "DataSection",
    "DeviceSection",
    "EdgeSpec",
    "HardwareSection",
    "LayerSpec",
    "NetworkSection",
    "PlasticitySection",
    "RelaxationSection",
    "Scenario",
    "ScenarioSection",
    "SchedulerSection",
    "Section",
    "SignalsSection",
    "TeacherSection",
    "TelemetrySection",
    "TrainingSection",
]
