"""Who speaks and who may read: identities that sign, enrolment in a programme, envelopes between two of them.

Every signature is two (Ed25519 and ML-DSA-65; both must verify) and every envelope's key is mixed from
two exchanges (X25519 and ML-KEM-768) and, where there is one, a quantum key. So it takes a break of both an
old and a new scheme to forge or to read.
"""
