"""What a run leaves behind, written so that a kill at any moment loses no finished epoch."""
