"""Equilibrium propagation: primitive function, networks, signals and plasticity. Knows no tiles and no files."""
