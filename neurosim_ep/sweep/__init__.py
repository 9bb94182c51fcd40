"""Sweeps: many runs, or estimates, of one scenario in which some keys vary."""
