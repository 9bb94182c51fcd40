"""Sweep files that ship with neurosim-ep."""
