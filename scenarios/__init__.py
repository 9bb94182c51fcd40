"""Scenario files that ship with neurosim-ep."""
