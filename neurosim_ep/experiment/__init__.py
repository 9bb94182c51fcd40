"""A scenario or a run opened: its data, model, targets and device."""
