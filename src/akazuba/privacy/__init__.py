"""What may leave the box, and how: identities and envelopes (`keys`), quantum keys (`qkd`), sums in which no
clinic can be seen (`aggregation`), noise and what it costs (`noise`, `ledger`), and the account of it all
(`report`). It knows nothing of patients: it is handed vectors, counts and bytes.
"""
