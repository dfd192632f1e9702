"""`python -m akazuba` is the command `akazuba`."""

from akazuba.cli import main

main()
