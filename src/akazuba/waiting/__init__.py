"""Who waits, who is next, and who has to be told at once."""
