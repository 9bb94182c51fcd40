"""Readers of images, one module per format; each gives an ``ImageSet``."""
