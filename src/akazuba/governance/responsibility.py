"""Who vouches for what before anybody falls ill: the developer's release, the deployer's configuration.

Each is a JSON document under a signature of two halves (Ed25519 and ML-DSA-65) over its very bytes; the bytes
that were signed are recorded in the log, and an assessment names them by their SHA-256. The release sets the
bounds within which a deployer may change something. A defect that the developer learns of later is a notice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from akazuba.errors import InputError, UntrustedError
from akazuba.privacy.keys.identity import Identity, PublicIdentity
from akazuba.storage.store import Entry, Recorded, Store

MOST_BYTES = 4 * 1024 * 1024
DAY_MIN = 24 * 60
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
NamedDigest = Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")]
"""Or "" for none."""

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Seconds = Annotated[int, Meta(ge=0, lt=1 << 53)]
Minute = Annotated[int, Meta(ge=0, le=DAY_MIN)]
Keys = Callable[[str], PublicIdentity]
"""A party's public keys by key id. Raises UntrustedError for one that is not believed."""


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is signed or recorded as JSON; an unknown field is refused."""


class Bounds(Document, frozen=True):
    """Both ends allowed; None: open."""

    low: float | None = None
    high: float | None = None

    def allow(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        low, high = ("…" if end is None else f"{end:g}" for end in (self.low, self.high))
        return f"{low} to {high}"


class Release(Document, frozen=True):
    """What the developer answers for. Times: seconds since 1970.

    files: SHA-256 of models, knowledge, guidelines and word models, as `installed_digests` names them.
    bounds: of each threshold that a deployer may set. staffing: least of each role while a post is open.
    may: roles that an action may be given to. model_card: SHA-256.
    """

    version: Literal[1]
    name: Name
    issued_s: Seconds
    files: Mapping[Name, Digest]
    bounds: Mapping[Name, Bounds]
    staffing: Mapping[Name, Annotated[int, Meta(ge=0, le=100)]]
    may: Mapping[Name, tuple[Name, ...]]
    model_card: Digest


class Shift(Document, frozen=True):
    """So many of a role each day, in minutes after local midnight; it may end on the next day."""

    role: Name
    least: Annotated[int, Meta(ge=1, le=100)]
    begins_min: Minute
    ends_min: Minute

    def covers(self, minute: int) -> bool:
        if self.begins_min <= self.ends_min:
            return self.begins_min <= minute < self.ends_min
        return minute >= self.begins_min or minute < self.ends_min


class Configuration(Document, frozen=True):
    """What the deploying organisation answers for. release: SHA-256 of the release that it was made for.

    overlays: SHA-256 of each file of local rules. formulary: SHA-256, "" for the release's own.
    may: actions, and the roles that may do each.
    """

    version: Literal[1]
    site: Name
    organisation: Name
    release: Digest
    valid_from_s: Seconds
    valid_until_s: Seconds
    overlays: Mapping[Name, Digest]
    formulary: NamedDigest
    thresholds: Mapping[Name, float]
    shifts: tuple[Shift, ...]
    utc_offset_min: Annotated[int, Meta(ge=-840, le=840)]
    may: Mapping[Name, tuple[Name, ...]]

    def required(self, at_s: float) -> dict[str, int]:
        """How many of each role shall be on duty at a time."""
        minute = int(at_s // 60 + self.utc_offset_min) % DAY_MIN
        found: dict[str, int] = {}
        for shift in self.shifts:
            if shift.covers(minute):
                found[shift.role] = found.get(shift.role, 0) + shift.least
        return found


class When(Document, frozen=True):
    """A number of the case, by its dotted path (`vitals.spo2_percent`), both ends included."""

    field: Name
    low: float | None = None
    high: float | None = None

    def holds(self, case: Mapping[str, object]) -> bool:
        value: object = case
        for step in self.field.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and Bounds(self.low, self.high).allow(float(value))  # type: ignore[arg-type]


class Notice(Document, frozen=True):
    """The developer says that a release does not do what it states. act_by_s: until when deployers shall act.

    touches: rules, guidelines or models, by their ids, or `level:green`: an assessment that rests on one of
    them, for a case for which every `when` holds, is affected.
    """

    version: Literal[1]
    release: Digest
    issued_s: Seconds
    act_by_s: Seconds
    what: Annotated[str, Meta(min_length=3, max_length=2000)]
    touches: Annotated[tuple[Name, ...], Meta(min_length=1)]
    when: tuple[When, ...] = ()


class Sealed(Document, frozen=True):
    """document: the bytes that were signed, as they came. signer: key id."""

    document: msgspec.Raw
    signer: Digest
    signature: bytes


Kind = Literal["release", "configuration", "notice"]
Said = TypeVar("Said", bound=Document)


@dataclass(frozen=True)
class Held(Generic[Said]):
    """A signed document. problem: why its signature counts for nothing, "" when it holds. index: in the log,
    None when it isn't from there. believed: whether there was a key to check it with.
    """

    sha256: str
    document: Said
    signer: str
    problem: str = ""
    believed: bool = True
    index: int | None = None
    at_ms: int = 0


def seal(identity: Identity, kind: str, document: Document) -> bytes:
    payload = msgspec.json.encode(document)
    wrapped = Sealed(msgspec.Raw(payload), identity.public.key_id, identity.sign(kind, payload))
    return msgspec.json.encode(wrapped)


def held(data: bytes, kind: str, type_: type[Said], keys: Keys | None) -> Held[Said]:
    """keys: of the party that shall have signed; None when nobody said which those are.

    Raises UntrustedError for bytes that are no such document; one with a wrong signature says its problem.
    """
    if len(data) > MOST_BYTES:
        raise UntrustedError(kind, f"at most {MOST_BYTES} bytes", f"{len(data)} bytes")
    try:
        wrapped = msgspec.json.decode(data, type=Sealed)
        payload = bytes(wrapped.document)
        document = msgspec.json.decode(payload, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise UntrustedError(kind, f"a signed {kind} of version 1", str(problem)) from problem
    digest, problem_found = sha256(data).hexdigest(), ""
    if keys is not None:
        try:
            keys(wrapped.signer).verify(kind, payload, wrapped.signature)
        except UntrustedError as problem:
            problem_found = str(problem)
    return Held(digest, document, wrapped.signer, problem_found, keys is not None)


def believing(*identities: PublicIdentity) -> Keys:
    """Those keys and no others."""
    known = {identity.key_id: identity for identity in identities}

    def key(key_id: str) -> PublicIdentity:
        if key_id not in known:
            expected = "a key of " + (", ".join(id_[:16] for id_ in known) or "somebody who is believed")
            raise UntrustedError("signer", expected, key_id[:16])
        return known[key_id]

    return key


def adopt(store: Store, by: str, kind: Kind, data: bytes, keys: Keys) -> Recorded:
    """Records a release, configuration or notice as it was signed. Raises UntrustedError unless it was."""
    types: Mapping[Kind, type[Document]] = {
        "release": Release,
        "configuration": Configuration,
        "notice": Notice,
    }
    found = held(data, kind, types[kind], keys)
    if found.problem:
        raise UntrustedError(kind, "a signature that holds", found.problem)
    (recorded,) = store.add(Entry(kind, by, data))
    return recorded


def adopt_overlay(store: Store, by: str, data: bytes) -> Recorded:
    """Records a file of local rules, so that a case can be replayed with it years later."""
    if len(data) > MOST_BYTES:
        raise InputError("overlay", f"at most {MOST_BYTES} bytes", f"{len(data)} bytes")
    (recorded,) = store.add(Entry("overlay", by, data))
    return recorded


def overlays_of(store: Store) -> dict[str, bytes]:
    """By SHA-256."""
    bodies = [entry.body for entry in store.entries(kind="overlay") if entry.body is not None]
    return {sha256(body).hexdigest(): body for body in bodies}


def held_in(store: Store, kind: Kind, type_: type[Said], keys: Keys | None) -> list[Held[Said]]:
    """Every one that the log holds, the oldest first. One that cannot be read is left out: it vouches for
    nothing, and whoever names it names a document that isn't there.
    """
    found = []
    for entry in store.entries(kind=kind):
        try:
            one = held(entry.body or b"", kind, type_, keys)
        except UntrustedError:
            continue
        said = Held(one.sha256, one.document, one.signer, one.problem, one.believed, entry.index, entry.at_ms)
        found.append(said)
    return found


# --- the configuration against the release -------------------------------------------------------------


@dataclass(frozen=True)
class Flaw:
    """clause: the field of the release or configuration that it is about."""

    kind: Literal["stale", "other-release", "outside-bounds", "unsigned"]
    what: str
    clause: str


def check_configuration(
    release: Held[Release] | None, configuration: Held[Configuration], now_s: float
) -> list[Flaw]:
    """What is wrong with a configuration at a time; release: the one that the box ran, None if unknown."""
    site, flaws = configuration.document, list[Flaw]()
    if configuration.problem:
        flaws.append(Flaw("unsigned", f"its signature does not hold: {configuration.problem}", "signature"))
    if now_s < site.valid_from_s:
        flaws.append(Flaw("stale", f"valid only {site.valid_from_s - now_s:.0f} s later", "valid_from_s"))
    if now_s >= site.valid_until_s:
        flaws.append(Flaw("stale", f"expired {now_s - site.valid_until_s:.0f} s before", "valid_until_s"))
    if release is None:
        return flaws
    if site.release != release.sha256:
        what = f"made for release {site.release[:16]}…, not for {release.document.name}"
        flaws.append(Flaw("other-release", what, "release"))
    return flaws + _outside(release.document, site)


def _outside(release: Release, site: Configuration) -> list[Flaw]:
    flaws = list[Flaw]()
    for name, value in sorted(site.thresholds.items()):
        bounds = release.bounds.get(name)
        if bounds is None or not bounds.allow(value):
            allowed = f"the developer allows {bounds}" if bounds else "it is none that a deployer may set"
            what = f"{name} is {value:g}; {allowed}"
            flaws.append(Flaw("outside-bounds", what, f"thresholds.{name}"))
    for action, roles in sorted(site.may.items()):
        more = sorted(set(roles) - set(release.may.get(action, roles)))
        if more:
            what = f"{action} is given to {', '.join(more)}; the developer allows " + (
                ", ".join(release.may[action]) or "nobody"
            )
            flaws.append(Flaw("outside-bounds", what, f"may.{action}"))
    for role, least in sorted(release.staffing.items()):
        fewest = _fewest(site, role)
        if fewest < least:
            what = f"{fewest} {role} while the post is open; the developer asks for {least}"
            flaws.append(Flaw("outside-bounds", what, "shifts"))
    return flaws


def _fewest(site: Configuration, role: str) -> int:
    """Of a role, at any minute at which anybody shall be on duty; 0 for a post without shifts."""
    ends = {end % DAY_MIN for shift in site.shifts for end in (shift.begins_min, shift.ends_min)}
    wanted = [site.required((minute - site.utc_offset_min) * 60) for minute in ends]
    return min((roles.get(role, 0) for roles in wanted if roles), default=0)
