"""What the sun gives, what the box may spend, and what it does about it. Nothing here knows a patient."""
