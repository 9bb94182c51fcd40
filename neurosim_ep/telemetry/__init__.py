"""What is noted of an epoch: exact counts of tiles, layers, rest, resolution; its tables."""
