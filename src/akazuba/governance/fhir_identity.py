"""Which patient a Bundle of another program is about. Two records of one person are a nuisance; one record of
two people can kill.

A patient of another system is known by her identifiers there, each with its system. The box finds her by
their HMACs under a key of its own, which lies in the encrypted store: the log's heads, which are carried
away, tell nothing of them. An identifier without a system, or in our own (every box numbers from 1), counts
for one program only. A patient of this box is meant only where the address of the entry says so and the name
agrees.
"""

from __future__ import annotations

import hmac
import os
import re
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from akazuba.errors import InputError
from akazuba.fhir.events import OURS, Json
from akazuba.fhir.outcome import RefusedError
from akazuba.fhir.shapes import objects, text
from akazuba.storage.person import Person, searchable
from akazuba.storage.store import Entry, Store

KIND = "identifier"
"""An entry with the identifiers of other systems, as they came."""

_KEY, _ALIAS = "fhir identifier key", "fhir identifier "
_MOST = 20


class Identifier(msgspec.Struct, frozen=True):
    system: str
    value: str


class Identifiers(msgspec.Struct, frozen=True):
    """Body of `identifier`."""

    identifiers: tuple[Identifier, ...]


@dataclass(frozen=True)
class Named:
    """person: as the store has her, or as she would be admitted. new: whether she has to be."""

    person: Person
    new: bool
    aliases: tuple[str, ...]
    identifiers: tuple[Identifier, ...]


def named(store: Store, client: str, base: str, resource: Json, full_url: str) -> Named:
    """Whom a Patient resource means. client: the program. base: the door's address.

    Raises RefusedError: contradicting what is known (409), erased here (410), by no identifier (422).
    """
    here = full_url.removeprefix(f"{base}/Patient/") if full_url.startswith(f"{base}/Patient/") else ""
    said = _person("", resource)
    if here:
        return Named(_of_this_box(store, here, said), False, (), ())
    identifiers = tuple(identifiers_of(resource))
    claims = [_scoped(client, one) for one in identifiers]
    if not claims and (id_ := text(resource, "id")):
        claims = [Identifier(f"program:{client}", id_)]
    if not claims:
        raise RefusedError(422, "required", "Patient", "an identifier with its system, or an id", "neither")
    aliases = tuple(_alias(store, one) for one in claims)
    known = {found.decode() for alias in aliases if (found := store.recall(alias))}
    if len(known) > 1:
        expected = "identifiers of one patient of this box"
        raise RefusedError(409, "conflict", "Patient.identifier", expected, f"of {len(known)}")
    if not known:
        new = f"imported-{aliases[0].removeprefix(_ALIAS)[:40]}"
        return Named(_person(new, resource), True, aliases, identifiers)
    (id_,) = known
    person = _stored(store, id_)
    _agree(person, said)
    return Named(person, False, aliases, identifiers)


def admit(store: Store, who: Named, by: str) -> None:
    """The new patient and her identifiers. What was cut off by a power cut is done when it comes again."""
    store.admit(who.person, by)
    if who.identifiers:
        body = msgspec.json.encode(Identifiers(who.identifiers))
        store.add(Entry(KIND, by, body, who.person.id))
    for alias in who.aliases:
        store.remember(alias, who.person.id.encode())


def by_identifier(store: Store, client: str, token: str) -> str:
    """The id of a patient, by `system|value` or a value; "" for nobody."""
    system, bar, value = token.rpartition("|")
    if (system == OURS + "patient" or not bar) and _is_known(store, value):
        return value
    found = store.recall(_alias(store, _scoped(client, Identifier(system, value)))) if value else None
    return found.decode() if found else ""


def identifiers_of(resource: Json) -> list[Identifier]:
    """Those with a value, each once, the official one first."""
    given = objects(resource, "identifier")
    given = [one for one in given if one.get("use") != "old"]
    ordered = sorted(given, key=lambda one: one.get("use") != "official")
    found = (Identifier(text(one, "system"), text(one, "value")) for one in ordered)
    return list(dict.fromkeys(one for one in found if one.value))[:_MOST]


def _scoped(client: str, one: Identifier) -> Identifier:
    if ":" in one.system and not one.system.startswith(OURS):
        return one
    return Identifier(f"program:{client} {one.system}", one.value)


def _alias(store: Store, one: Identifier) -> str:
    key = store.recall(_KEY)
    if key is None:
        key = os.urandom(32)
        store.remember(_KEY, key)
    said = msgspec.msgpack.encode((one.system, one.value))
    return _ALIAS + hmac.new(key, said, sha256).hexdigest()


def _person(id_: str, resource: Json) -> Person:
    born = text(resource, "birthDate")
    return Person(
        id_,
        _name(resource) or "(no name given)",
        born if re.fullmatch(r"[0-9]{4}(-[0-9]{2}){0,2}", born) else "",
        sex if (sex := text(resource, "gender")) in ("female", "male", "other", "unknown") else "",
        _place(resource),
    )


def _name(resource: Json) -> str:
    names = objects(resource, "name")
    best = next((name for name in names if name.get("use") in ("official", "usual")), None)
    name = best or (names[0] if names else {})
    given = name.get("given")
    parts = [text(name, "family"), *(part for part in (given if isinstance(given, list) else ()) if part)]
    said = text(name, "text") or " ".join(part for part in parts if isinstance(part, str))
    return " ".join(said.split())[:200]


def _place(resource: Json) -> str:
    for address in objects(resource, "address"):
        parts = [text(address, part) for part in ("city", "district", "state")]
        if said := ", ".join(part for part in parts if part) or text(address, "text"):
            return said[:200]
    return ""


def _of_this_box(store: Store, id_: str, said: Person) -> Person:
    person = _stored(store, id_)
    if sorted(searchable(said.name).split()) != sorted(searchable(person.name).split()):
        raise RefusedError(409, "conflict", "Patient.name", "the name of this box's patient", "another")
    _agree(person, said)
    return person


def _agree(known: Person, said: Person) -> None:
    """One cannot be born on two days. What is known here is not told to whoever asks."""
    common = min(len(known.born), len(said.born))
    if known.born[:common] != said.born[:common]:
        raise RefusedError(409, "conflict", "Patient.birthDate", "that of the patient known here", "another")
    sexes = {known.sex, said.sex} & {"female", "male"}
    if len(sexes) > 1:
        raise RefusedError(409, "conflict", "Patient.gender", "that of the patient known here", "another")


def _stored(store: Store, id_: str) -> Person:
    try:
        return store.person(id_)
    except InputError as problem:
        if next(store.entries(patient=id_), None):
            expected = "one that was not erased here; at the box she can be admitted again"
            raise RefusedError(410, "deleted", "Patient", expected, "an erased one") from problem
        raise RefusedError(404, "not-found", "Patient", "a patient of this box", "none") from problem


def _is_known(store: Store, id_: str) -> bool:
    return next(store.entries(patient=id_, kind="patient"), None) is not None if id_ else False


def as_fhir(one: Identifier) -> Json:
    return {**({"system": one.system} if one.system else {}), "value": one.value}
