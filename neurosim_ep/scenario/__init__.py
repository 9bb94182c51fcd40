"""Scenario files: the TOML sections, their validation, and writing them back."""
