"""Boxes that are often off improve one another's model, and no patient's data leave them.

A terminal trains on its own cases (`own_records`, seen as `features`; its own last layer: `own_head`) and
puts a signed update (`updates`) into a durable outbox (`outbox`), from where it travels over a bad line
(`sending`) or on a stick (`stick`). A gateway takes it in once (`gateway`); what an update counts for is
decided by its size and age (`weights`), bounded (`clipping`) and folded into the next version (`folding`,
`optimisers`, `halflife`, `robust`). What it costs a clinic's privacy: `accounts`, or `local` where the
terminal adds the noise. The same folding runs in the SIMULATED programme (`simulate`). Flower is known to
`flower` only.
"""
