"""Exports: what a run recorded, in the file formats of other simulators; see docs/traffic-format.md."""
