"""Knows the fixed texts of the screen in other languages, and how far each language goes."""
