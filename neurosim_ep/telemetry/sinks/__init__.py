"""Where a run reports its numbers to while it goes on, beside its own tables: one file per sink."""
