"""Akazuba: offline decision support for a health post. `akazuba.consult` tells the story of one consultation."""
