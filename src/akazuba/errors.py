"""Every error that Akazuba raises on purpose.

    AkazubaError
    ├── InputError            what somebody handed in cannot be used      exit code 2 (a batch: 1)
    │   ├── CaseError         … a case: a field is unknown, impossible or of the wrong kind
    │   └── ImageError        … an image: missing, truncated, too large, not an image
    └── ArtefactError         a file of our own cannot be trusted: missing, altered, other version

Each says which item, what was expected and what was found; `str(error)` is the whole sentence,
so that the command line, a batch's `error` field and the page show the same words.
"""

from __future__ import annotations


class AkazubaError(Exception):
    """Root of the tree.

    >>> str(CaseError("vitals.spo2_percent", "20 to 100 %", "0.93"))
    'vitals.spo2_percent: expected 20 to 100 %, found 0.93'
    """

    def __init__(self, item: str, expected: str, found: str) -> None:
        self.item = item
        self.expected = expected
        self.found = found
        super().__init__(f"{item}: expected {expected}, found {found}")


class InputError(AkazubaError):
    """What somebody handed in cannot be used."""


class CaseError(InputError):
    """A field of a case is unknown, impossible or of the wrong kind."""


class ImageError(InputError):
    """An image is missing, truncated, too large or not an image."""


class ArtefactError(AkazubaError):
    """A file that Akazuba ships or builds is missing, altered or of another version."""
