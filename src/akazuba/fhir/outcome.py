"""OperationOutcome of FHIR R4: what went wrong or has to be known, item by item."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from akazuba.errors import InputError
from akazuba.fhir.events import Json

Severity = Literal["error", "warning", "information"]


@dataclass(frozen=True)
class Issue:
    """code: of FHIR's issue-type. words: item, expected and found, for what cannot be used."""

    severity: Severity
    code: str
    words: str


class RefusedError(InputError):
    """What the door does not do. status: of HTTP. code: of FHIR's issue-type.

    >>> str(RefusedError(400, "value", "_count", "1 to 200", "'many'"))
    "_count: expected 1 to 200, found 'many'"
    """

    def __init__(self, status: int, code: str, item: str, expected: str, found: str) -> None:
        super().__init__(item, expected, found)
        self.status, self.code = status, code


def outcome(issues: Iterable[Issue]) -> Json:
    """An OperationOutcome has one issue at least (R4, OperationOutcome.issue 1..*)."""
    said = list(issues) or [Issue("information", "informational", "nothing to say")]
    return {
        "resourceType": "OperationOutcome",
        "issue": [
            {"severity": issue.severity, "code": issue.code, "details": {"text": issue.words}}
            for issue in said
        ],
    }
