"""Trained networks that ship with the package: finished run directories, each in a zip archive."""
