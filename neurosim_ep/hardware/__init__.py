"""What a chip of tiles costs: exact counts, hardware models with provenance, energy ledger and memory."""
