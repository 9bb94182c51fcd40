"""Hardware models: numbers with unit, source and interval, read from TOML."""
