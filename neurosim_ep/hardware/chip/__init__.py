"""A chip: what stands where, who sends what to whom, what was counted."""
