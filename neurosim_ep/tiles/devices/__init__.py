"""Memory devices: how one conductance answers to programming pulses."""
