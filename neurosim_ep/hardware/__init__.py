"""What a chip of tiles costs: exact counts, hardware models with provenance, bill and memory."""
