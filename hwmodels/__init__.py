"""Hardware models that ship with neurosim-ep; every number carries its unit, source, kind and node."""
