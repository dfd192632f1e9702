"""What the box keeps: every record encrypted, in one transaction with its leaf of the audit log.

`unlocking` makes the key from the device's secret and a passphrase; `store` is the file; `spool` takes what
is recorded while the box is locked; `backup` and `rescue` (which reads `pages`) are for bad days.
"""
