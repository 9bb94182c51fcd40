"""What a trained or untrained network does under nudging: gradient checks and diagnoses."""
