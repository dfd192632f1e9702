"""Programs of other systems that may use this box's doors: their names, rights and public keys, from the log.

A program is what the entries `program` and `program-revoked` say. The newest `program` of a name holds: so
keys and rights are changed. A revoked name is never used again, so that a name in the log means one program.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta

from akazuba.errors import ArtefactError, InputError, encodable
from akazuba.storage.store import Entry, Recorded, Store

ADDED, REVOKED = "program", "program-revoked"

READABLE = (
    "AuditEvent",
    "CarePlan",
    "ClinicalImpression",
    "Condition",
    "Consent",
    "Encounter",
    "Observation",
    "Patient",
    "Provenance",
    "RiskAssessment",
)
"""FHIR resources that may be read one kind at a time."""

EVERY_READ, EVERY_WRITE = "system/*.read", "system/*.write"
ASSESS, HOOKS = "system/assess", "hooks"
SCOPES = (EVERY_READ, EVERY_WRITE, ASSESS, HOOKS, *(f"system/{kind}.read" for kind in READABLE))
"""As SMART App Launch 1.0 writes them; `system/assess` and `hooks` are ours."""

MOST_KEYS = 4
LARGEST_JWKS = 16 * 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,59}")
_COORDINATE = {"Ed25519": 32, "P-384": 48}
"""Bytes of x (and y) by curve."""


class Jwk(msgspec.Struct, frozen=True, omit_defaults=True):
    """A public key (RFC 7517): Ed25519, or P-384 for ES384. y: "" for Ed25519."""

    kty: Literal["OKP", "EC"]
    crv: Literal["Ed25519", "P-384"]
    kid: Annotated[str, Meta(min_length=1, max_length=200)]
    x: str
    y: str = ""


class Added(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `program`."""

    program: str
    scopes: tuple[str, ...]
    keys: tuple[Jwk, ...]


class Revoked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `program-revoked`."""

    program: str
    because: str


@dataclass(frozen=True)
class Registration:
    """A program as it stands. index: of its newest entry, which voids older tokens. by: who wrote it."""

    name: str
    scopes: frozenset[str]
    keys: tuple[Jwk, ...]
    by: str
    at_ms: int
    index: int
    revoked: bool = False

    @property
    def log_name(self) -> str:
        """How the log calls what it did."""
        return f"program:{self.name}"


@dataclass
class Programs:
    """Those of a log, read on where the last reading ended."""

    _read_to: int = 0
    _found: dict[str, Registration] = field(default_factory=dict)

    def of(self, store: Store) -> Mapping[str, Registration]:
        """By name, revoked ones too. Raises ArtefactError for entries that do not fit together."""
        if self._read_to > store.size:
            self._read_to, self._found = 0, {}
        new = [e for kind in (ADDED, REVOKED) for e in store.entries(kind=kind, first=self._read_to)]
        for entry in sorted(new, key=lambda entry: entry.index):
            try:
                made = _after(self._found, entry)
            except (msgspec.MsgspecError, KeyError) as problem:
                raise ArtefactError(f"entry {entry.index}", "a known program", str(problem)) from problem
            self._found[made.name] = made
        self._read_to = store.size
        return self._found


def programs(store: Store) -> Mapping[str, Registration]:
    """By name, revoked ones too. Raises ArtefactError."""
    return Programs().of(store)


def _after(found: Mapping[str, Registration], entry: Recorded) -> Registration:
    if entry.kind == ADDED:
        said = msgspec.json.decode(entry.body or b"", type=Added)
        return Registration(
            said.program, frozenset(said.scopes), said.keys, entry.by, entry.at_ms, entry.index
        )
    off = msgspec.json.decode(entry.body or b"", type=Revoked)
    was = found[off.program]
    return Registration(was.name, was.scopes, was.keys, entry.by, entry.at_ms, entry.index, revoked=True)


def register(store: Store, by: str, name: str, scopes: Iterable[str], jwks: bytes) -> Registration:
    """Lets a program in, or gives a known one other rights and keys. by: somebody who may `configure`.

    jwks: its public keys as a JSON Web Key Set. Raises InputError, for a secret key in it too.
    """
    known = programs(store).get(checked_name(name))
    if known is not None and known.revoked:
        raise InputError("program", "a name that was never revoked", name)
    wanted = tuple(dict.fromkeys(scopes))
    if not wanted:
        raise InputError("scope", f"one or more of {', '.join(SCOPES)}", "none")
    for scope in wanted:
        if scope not in SCOPES:
            raise InputError("scope", f"one of {', '.join(SCOPES)}", repr(scope[:80]))
    body = msgspec.json.encode(Added(name, wanted, read_keys(jwks)))
    store.add(Entry(ADDED, by, body))
    return programs(store)[name]


def checked_name(name: str) -> str:
    """Raises InputError."""
    if not _NAME.fullmatch(name):
        raise InputError("program", "1 to 60 of a-z, 0-9, '.' and '-'", repr(name[:80]))
    return name


def revoke(store: Store, by: str, name: str, because: str) -> Registration:
    """For good: its tokens are refused from now on. Raises InputError."""
    known = programs(store).get(name)
    if known is None or known.revoked:
        raise InputError("program", "one that is let in", f"{name[:60]}, {'revoked' if known else 'unknown'}")
    if not because.strip():
        raise InputError("revoke", "a reason", "none")
    store.add(Entry(REVOKED, by, msgspec.json.encode(Revoked(name, encodable(because.strip())[:500]))))
    return programs(store)[name]


def granted(scopes: Iterable[str], wanted: str) -> bool:
    """Whether rights hold one that is wanted; a wildcard holds its kind.

    >>> granted(["system/*.read"], "system/Patient.read"), granted(["system/Patient.read"], "system/*.read")
    (True, False)
    """
    held = set(scopes)
    kind = wanted.rpartition(".")[2]
    every = f"system/*.{kind}" if wanted.startswith("system/") and "." in wanted else wanted
    return wanted in held or every in held


def read_keys(jwks: bytes) -> tuple[Jwk, ...]:
    """Raises InputError that names the key: another kind, a point that is none, a kid twice, a secret."""
    item = "jwks"
    if len(jwks) > LARGEST_JWKS:
        raise InputError(item, f"at most {LARGEST_JWKS} bytes", f"{len(jwks)}")
    try:
        keys = msgspec.json.decode(jwks, type=dict[str, list[dict[str, object]]])["keys"]
    except (msgspec.MsgspecError, KeyError, UnicodeDecodeError) as problem:
        raise InputError(item, 'a JSON Web Key Set {"keys": […]}', str(problem)) from problem
    if not 1 <= len(keys) <= MOST_KEYS:
        raise InputError(item, f"1 to {MOST_KEYS} keys", f"{len(keys)}")
    found = tuple(_key(f"jwks.keys[{index}]", raw) for index, raw in enumerate(keys))
    if len({key.kid for key in found}) < len(found):
        raise InputError(item, "another kid for each key", "one twice")
    return found


def _key(item: str, raw: Mapping[str, object]) -> Jwk:
    if raw.keys() & {"d", "k", "p", "q"}:
        raise InputError(item, "a public key", "a secret one: make a new pair, this one was handed over")
    try:
        key = msgspec.convert(raw, Jwk)
    except msgspec.ValidationError as problem:
        raise InputError(item, "an Ed25519 or P-384 key with a kid", str(problem)) from problem
    if (key.kty == "EC") != (key.crv == "P-384"):
        raise InputError(item, "kty OKP with Ed25519 or EC with P-384", f"{key.kty} with {key.crv}")
    try:
        x, y = _number(key.x, key.crv), b"" if key.crv == "Ed25519" else _number(key.y, key.crv)
        if key.crv == "Ed25519":
            Ed25519PublicKey.from_public_bytes(x)
        else:
            EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), SECP384R1()).public_key()
    except ValueError as problem:
        raise InputError(item, f"a point of {key.crv}", str(problem)) from problem
    return Jwk(key.kty, key.crv, key.kid, key.x, key.y if key.crv == "P-384" else "")


def _number(text: str, curve: str) -> bytes:
    """Raises ValueError."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as problem:
        raise ValueError("no base64url") from problem
    if len(data) != _COORDINATE[curve]:
        raise ValueError(f"{len(data)} bytes where {_COORDINATE[curve]} belong")
    return data
