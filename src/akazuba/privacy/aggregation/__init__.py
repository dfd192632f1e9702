"""Sums of model updates in which no clinic can be seen."""
