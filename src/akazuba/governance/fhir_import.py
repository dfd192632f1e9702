"""A Bundle of another program as a consultation of this box: all of it or nothing, and never twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from akazuba.errors import ArtefactError
from akazuba.fhir.export import resource_id
from akazuba.fhir.incoming import Posted
from akazuba.fhir.outcome import RefusedError
from akazuba.governance.audit_reads import system_ms
from akazuba.governance.consent import may
from akazuba.governance.decisions import UNKNOWN, Versions, record_consultation
from akazuba.governance.fhir_entries import Basis, decoded, of_kind
from akazuba.governance.fhir_identity import admit, named
from akazuba.storage.store import Recorded, Store


@dataclass(frozen=True)
class Imported:
    """about: the patient's resource id. case, assessment: their entries. again: they were here before."""

    about: str
    case: int
    assessment: int
    again: bool


def take_in(
    store: Store,
    client: str,
    base: str,
    came: Posted,
    body: bytes,
    case: bytes,
    assessment: bytes,
    pictures: Mapping[str, bytes],
    ran: Versions = UNKNOWN,
    now_ms: Callable[[], int] = system_ms,
) -> Imported:
    """client: the program. base: the door's address. body: the bytes that came; case, assessment: JSON made
    from them.

    Raises RefusedError for a patient who is another than she seems (409), was erased (410) or refuses care
    (403), InputError like `record_consultation`.
    """
    who = named(store, client, base, came.patient, came.full_url)
    id_ = who.person.id
    about = resource_id(id_)
    if not who.new:
        allowed = may(store, id_, "care", now_ms())
        if not allowed.yes:
            raise RefusedError(403, "forbidden", f"Patient/{about}", "one who agrees to care", allowed.why)
        if known := _known(list(store.entries(patient=id_)), sha256(body).digest()):
            return Imported(about, known.case, known.assessment, again=True)
    by = f"program:{client}"
    if who.new:
        admit(store, who, by)
    first, second = record_consultation(store, case, assessment, by, id_, ran, pictures, body)
    return Imported(about, first.index, second.index, again=False)


def _known(entries: list[Recorded], digest: bytes) -> Basis | None:
    """What was made of the same bytes before."""
    same = {e.index for e in of_kind(entries, "source") if sha256(e.body or b"").digest() == digest}
    if not same:
        return None
    bases = (decoded(entry, Basis) for entry in of_kind(entries, "basis"))
    found = next((basis for basis in bases if basis.source in same), None)
    if found is None:
        raise ArtefactError(f"entry {min(same)}", "a source with its `basis`", "none")
    return found
