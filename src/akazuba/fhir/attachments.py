"""Pictures and texts that a Bundle carries: Attachment, narrative, reasons."""

from __future__ import annotations

import base64
import binascii
import html
import re
from urllib.parse import unquote

from akazuba.errors import CaseError
from akazuba.fhir.shapes import Json, concept_name, concept_words, objects, text

_CHEST = ("chest", "thora", "lung", "51185008", "39607008")
_X_RAY = ("x-ray", "xray", "x ray", "radiogra", "cxr")
_X_RAY_CODES = {"cr", "dx", "rg", "36643-5", "30745-4", "24648-8", "42272-5"}
_CHEST_X_RAY_CODES = {"36643-5", "30745-4", "24648-8", "42272-5"}
_SKIN = ("skin", "dermat", "cutaneous", "39937001")
"""Words, SNOMED CT sites, DICOM modalities and LOINC document types (codes from memory: unverified)."""


def picture(item: str, body: Json, attachment: Json) -> tuple[dict[str, str], bytes | None]:
    """The image reference of a Media or DocumentReference, and its bytes when they are inline.

    A picture that is not inline is named by a relative `url` and must lie inside the bundle's own
    folder: a bundle comes from another system and may not point at any file of this box.
    Raises CaseError naming `item`.
    """
    kind = _kind(item, body, attachment)
    if encoded := text(attachment, "data"):
        return {"path": item, "kind": kind}, decoded(item, encoded)
    url = unquote(text(attachment, "url"))
    if not url:
        raise CaseError(item, "a picture: attachment.data or attachment.url", "neither")
    if (
        re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", url)
        or url.startswith("/")
        or "\\" in url
        or ".." in url.split("/")
    ):
        raise CaseError(item, "a relative url inside the bundle's folder", repr(url[:80]))
    return {"path": url, "kind": kind}, None


def _kind(item: str, body: Json, attachment: Json) -> str:
    """The image kind by body site, modality and type."""
    fields = ("bodySite", "modality", "type", "view", "reasonCode")
    words = [word for name in fields for word in concept_words(body, name)]
    words += [
        word for name in ("category", "reasonCode") for part in objects(body, name) for word in _concept(part)
    ]
    words.append(text(attachment, "title").casefold())
    everything = " ".join(words)
    x_ray = any(word in everything for word in _X_RAY) or not _X_RAY_CODES.isdisjoint(words)
    chest = any(word in everything for word in _CHEST) or not _CHEST_X_RAY_CODES.isdisjoint(words)
    if x_ray and chest:
        return "chest-xray"
    if not x_ray and any(word in everything for word in _SKIN):
        return "skin-photo"
    found = concept_name(body, "bodySite") or concept_name(body, "modality") or concept_name(body, "type")
    expected = "a chest X-ray or a skin photo, said by bodySite and modality or type"
    raise CaseError(item, expected, repr(found[:80]) if found else "neither")


def _concept(concept: Json) -> list[str]:
    return concept_words({"concept": concept}, "concept")


def decoded(item: str, encoded: str) -> bytes:
    """Bytes of a base64Binary. Raises CaseError naming `item`."""
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as problem:
        raise CaseError(item, "base64 data", str(problem)) from problem


def attached_text(item: str, attachment: Json) -> str:
    """The text of a text/plain attachment. Raises CaseError when it is not UTF-8."""
    try:
        return decoded(item, text(attachment, "data")).decode("utf-8").strip()
    except UnicodeDecodeError as problem:
        raise CaseError(item, "text in UTF-8", f"byte {problem.object[problem.start]:#04x}") from problem


def note_text(kind: str, body: Json) -> str:
    """What a clinician wrote in a resource, as plain text; "" when there is nothing."""
    match kind:
        case "Composition":
            return "\n".join(part for part in (_plain(div) for div in _sections(body)) if part)
        case "DiagnosticReport":
            return text(body, "conclusion")
        case "ClinicalImpression":
            return text(body, "summary") or text(body, "description")
        case "Communication":
            said = [text(payload, "contentString") for payload in objects(body, "payload")]
        case _:  # Encounter
            said = [concept_name({"reason": reason}, "reason") for reason in objects(body, "reasonCode")]
    return "\n".join(part for part in said if part)


def _sections(composition: Json) -> list[str]:
    """The narratives of all sections, in reading order."""
    found: list[str] = []
    waiting = objects(composition, "section")[::-1]
    while waiting:
        section = waiting.pop()
        found.append(text(section, "text", "div"))
        waiting += objects(section, "section")[::-1]
    return found


def _plain(xhtml: str) -> str:
    """XHTML narrative without its tags.

    >>> _plain("<div><p>Fever &amp; cough</p><p>3 days</p></div>")
    'Fever & cough 3 days'
    """
    return " ".join(html.unescape(re.sub(r"<[^<>]*>", " ", xhtml)).split())
