"""Akazuba: offline decision support for a health post; `consult` tells one consultation's story."""
