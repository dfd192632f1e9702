"""What another program posts: JSON as FHIR has it, the one Bundle in it, and the answer to a transaction."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from akazuba.errors import CaseError
from akazuba.fhir.events import Json
from akazuba.fhir.outcome import Issue, RefusedError, outcome
from akazuba.fhir.shapes import is_question, objects, text

TYPES = {
    "transaction": "transaction-response",
    "batch": "batch-response",
    "collection": "transaction-response",
}
"""What can be imported, and what answers it."""

_WRITES = ("", "POST", "PUT")
_BOM = b"\xef\xbb\xbf"
_HALVES = re.compile(rb"\\u[dD][89a-fA-F]")
"""Escapes of surrogates; a half without its other half is no text that could be kept."""


@dataclass(frozen=True)
class Posted:
    """bundle: the one that came, alone or in Parameters. patient: its only one. full_url: of her entry."""

    bundle: Json
    patient: Json
    full_url: str


def posted(body: bytes, *, wrapped: bool) -> Posted:
    """wrapped: whether Parameters with one Bundle will do too. Raises RefusedError (400).

    >>> posted(b'{"resourceType": "Patient"}', wrapped=False)
    Traceback (most recent call last):
    akazuba.fhir.outcome.RefusedError: resourceType: expected Bundle, found 'Patient'
    """
    bundle = value = parsed(body)
    if wrapped and value.get("resourceType") == "Parameters":
        inside = [part["resource"] for part in objects(value, "parameter") if "resource" in part]
        bundles = [one for one in inside if isinstance(one, dict) and one.get("resourceType") == "Bundle"]
        if len(inside) != 1 or len(bundles) != 1:
            raise RefusedError(400, "invalid", "Parameters", "one Bundle", f"{len(inside)} resources")
        bundle = bundles[0]
    if bundle.get("resourceType") != "Bundle":
        expected = "Bundle, or Parameters with one" if wrapped else "Bundle"
        found = repr(bundle.get("resourceType"))[:60]
        raise RefusedError(400, "invalid", "resourceType", expected, found)
    entries = bundle.get("entry", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RefusedError(400, "structure", "Bundle.entry", "a list of objects", "another")
    patients = [
        (entry["resource"], text(entry, "fullUrl"))
        for entry in entries
        if isinstance(entry.get("resource"), dict) and entry["resource"].get("resourceType") == "Patient"
    ]
    if len(patients) != 1:
        raise RefusedError(400, "invalid", "Bundle", "one Patient", f"{len(patients) or 'none'}")
    return Posted(bundle, *patients[0])


def to_import(bundle: Json) -> str:
    """The type of the Bundle that answers. Raises RefusedError for what isn't an import of one patient."""
    kind = text(bundle, "type")
    if kind not in TYPES:
        raise RefusedError(400, "value", "Bundle.type", ", ".join(TYPES), repr(bundle.get("type"))[:60])
    for index, entry in enumerate(objects(bundle, "entry")):
        method = text(entry, "request", "method")
        if method not in _WRITES and not (kind == "batch" and is_question(entry)):
            raise RefusedError(400, "not-supported", _method_of(index), "POST or PUT", repr(method[:20]))
    return TYPES[kind]


def _method_of(index: int) -> str:
    return f"Bundle.entry[{index}].request.method"


def taken_in(
    bundle: Json,
    kind: str,
    locations: Mapping[str, str],
    version: int,
    *,
    again: bool,
    not_read: Mapping[str, int],
    issues: Sequence[Issue],
) -> Json:
    """One answer for each entry, in its order (R4, http.html#transaction-response). Nothing is said to be
    created that cannot be asked for at an address of its own. kind: of the answer.

    locations: by resource type, where it stands now. version: index of the entry that keeps the consultation.
    again: whether it was here before. not_read: by resource type, what is kept and was not read.
    """
    answers: list[Json] = []
    told = list(issues)
    for index, entry in enumerate(objects(bundle, "entry")):
        if is_question(entry):
            method = text(entry, "request", "method")
            words = f"{_method_of(index)}: expected POST or PUT (ask for it alone), found {method!r}"
            wrong = outcome([Issue("error", "not-supported", words)])
            answers.append({"response": {"status": "405 Method Not Allowed", "outcome": wrong}})
            continue
        type_ = text(entry, "resource", "resourceType") if "resource" in entry else ""
        said: Json = {"status": "200 OK", "etag": f'W/"{version}"'}
        if where := locations.get(type_):
            said |= {"status": "200 OK" if again else "201 Created", "location": where}
        known, told = told, []
        if type_ in not_read:
            words = f"{type_}: kept whole with the Bundle; not read"
            known.append(Issue("information", "not-supported", words))
        if known:
            said["outcome"] = outcome(known)
        answers.append({"response": said})
    return {"resourceType": "Bundle", "type": kind, "entry": answers}


def parsed(body: bytes) -> Json:
    """Strict JSON: UTF-8, each key once, no endless numbers, an object. Raises RefusedError."""
    try:
        value: object = json.loads(
            body.removeprefix(_BOM).decode(), object_pairs_hook=_once, parse_constant=_endless
        )
    except UnicodeDecodeError as problem:
        found = f"byte {body[problem.start]:#04x} at {problem.start}"
        raise RefusedError(400, "structure", "body", "text in UTF-8", found) from problem
    except RecursionError as problem:
        raise RefusedError(400, "structure", "body", "FHIR's nesting", "hundreds of levels") from problem
    except json.JSONDecodeError as problem:
        found = f"{problem.msg} at line {problem.lineno}, column {problem.colno}"
        raise RefusedError(
            400, "structure", "body", "FHIR as JSON", found if body.strip() else "nothing"
        ) from problem
    except CaseError as problem:
        raise RefusedError(400, "structure", problem.item, problem.expected, problem.found) from problem
    except ValueError as problem:  # a number of thousands of digits
        raise RefusedError(
            400, "structure", "body", "numbers that can be read", str(problem)[:100]
        ) from problem
    if _HALVES.search(body) and _has_half(value):
        raise RefusedError(400, "structure", "body", "text in Unicode", "half of a surrogate pair")
    if not isinstance(value, dict):
        raise RefusedError(400, "structure", "body", "a FHIR resource (a JSON object)", type(value).__name__)
    return value


def _once(pairs: list[tuple[str, object]]) -> Json:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise CaseError(repr(twice[:60]), "each field once", "it twice")
    return value


def _has_half(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _endless(name: str) -> float:
    raise CaseError("body", "numbers that end", name)
