"""Akazuba: offline decision support for a health post; `consult` tells one consultation's story."""

__version__ = "0.1.0"
