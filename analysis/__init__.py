"""Pictures of finished or unfinished runs, drawn from the run directory alone: ``plot.plot_runs``."""
