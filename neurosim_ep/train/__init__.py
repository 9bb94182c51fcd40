"""Where data, dynamics, tiles and records meet: training runs."""
