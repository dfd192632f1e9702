"""Sums of model updates in which no clinic can be seen.

A clinic clips and rounds its update (`encode`), adds its share of the noise, hides the whole under a mask
whose seed it shares out among the mask stewards (`masks`, `shamir`), and may encrypt what is hidden (`bfv`):
one message, `clinic`. The server adds (`server`), the stewards open sums and nothing else (`stewards`). Who
holds and sees what, and which of them would have to act together: `docs/explanation/threat-model.md`.
"""
