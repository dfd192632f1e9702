"""What a plugin may add to the box, and how it is kept from taking anything away.

`parts` are the plain values that a plugin hands over, `hookspecs` says through which functions; `gathering`
loads the plugins that the deployer named, `guard` bounds every call into one. A box without plugins imports
none of the last three.
"""
