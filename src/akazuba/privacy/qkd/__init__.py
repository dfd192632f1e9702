"""Quantum keys: delivery after ETSI GS QKD 014, the policy of their use, and a link that is SIMULATED."""
