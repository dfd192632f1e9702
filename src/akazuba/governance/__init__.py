"""Who answers for what: what the box did, sealed so that nobody can change it unseen, and who vouches for it.

Checkpoints say how far the log stood; witnesses make sure that everybody is shown the same log.
"""
