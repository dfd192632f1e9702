"""Every error that Akazuba raises on purpose.

    AkazubaError
    ├── InputError            what somebody handed in cannot be used      exit code 2 (a batch: 1)
    │   ├── CaseError         … a case: a field is unknown, impossible or of the wrong kind
    │   └── ImageError        … an image: missing, truncated, too large, not an image
    ├── ArtefactError         a file of our own cannot be trusted: missing, altered, other version
    ├── UntrustedError        a message or key from outside: forged, altered, replayed, expired
    ├── BudgetError           what would leave the box costs more privacy than is left
    ├── KeysExhaustedError    no quantum key is left where one is required: what waits is sent later
    ├── LockedError           records are needed and nobody has typed today's passphrase yet
    ├── ModelError            the language model did not answer; the assessment stands without its words
    └── OutOfTimeError        a step that may not take long did: the box is busy

Each says which item, what was expected and what was found; `str(error)` is the whole sentence,
so that the command line, a batch's `error` field and the page show the same words.
"""

from __future__ import annotations


def encodable(text: str) -> str:
    r"""Text that UTF-8 can carry: a file's name may hold bytes that are none.

    >>> encodable("caf\udce9.json")
    'caf\\udce9.json'
    """
    return text.encode("utf-8", "backslashreplace").decode()


def why_not_opened(problem: Exception) -> str:
    """What the system says of a file, without the file's name once more."""
    return (problem.strerror if isinstance(problem, OSError) else None) or str(problem)


class AkazubaError(Exception):
    """Root of the tree.

    >>> str(CaseError("vitals.spo2_percent", "20 to 100 %", "0.93"))
    'vitals.spo2_percent: expected 20 to 100 %, found 0.93'
    """

    def __init__(self, item: str, expected: str, found: str) -> None:
        self.item = encodable(item)
        self.expected = encodable(expected)
        self.found = encodable(found)
        super().__init__(f"{self.item}: expected {self.expected}, found {self.found}")


class InputError(AkazubaError):
    """What somebody handed in cannot be used."""


class CaseError(InputError):
    """A field of a case is unknown, impossible or of the wrong kind."""


class ImageError(InputError):
    """An image is missing, truncated, too large or not an image."""


class ArtefactError(AkazubaError):
    """A file that Akazuba ships or builds is missing, altered or of another version."""


class UntrustedError(AkazubaError):
    """A message or key from outside is forged, altered, replayed, expired, revoked or downgraded."""


class BudgetError(AkazubaError):
    """A release costs more epsilon than the privacy budget has left."""


class KeysExhaustedError(AkazubaError):
    """The key management entity has no quantum key left and the policy requires one."""


class LockedError(AkazubaError):
    """Records are needed, and the box is locked or has no store."""


class ModelError(AkazubaError):
    """The language model is missing, broken, too slow, too large or busy."""


class OutOfTimeError(AkazubaError):
    """A step was stopped because it took longer than anybody would wait."""
