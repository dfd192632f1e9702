"""Passkeys (W3C Web Authentication, level 2): a key on a user's own device in place of her PIN.

The device asks for its own PIN or finger each time, so that having and knowing come together. A passkey is
an entry of the log and counts until anything about its user changes, as her sessions do. It is bound to the
clinic's hostname; a challenge is used once, on the tablet that asked, within five minutes of the boot's
clock. The one place that knows the library `webauthn` (extra `passkeys`).
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
from msgspec import Meta

from akazuba.errors import ArtefactError, InputError, UntrustedError
from akazuba.governance.attempts import attempts_of, forgotten, log, turn_away
from akazuba.governance.passkey_challenges import CHALLENGE_S, ask, asked_on
from akazuba.governance.pins import Attempts, Moment, tablet_wait_s
from akazuba.governance.signing_in import Tried, known_tablet, tried
from akazuba.governance.users import NOBODY, User, acting, user_of, users
from akazuba.storage.store import Entry, Store

if TYPE_CHECKING:
    from webauthn.helpers.cose import COSEAlgorithmIdentifier

ADDED, REMOVED = "passkey-added", "passkey-removed"
MOST = 5
"""Of one user."""

MOST_BYTES = 64 * 1024
"""Of what a browser answers."""

_HOSTNAME = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")

Made = TypeVar("Made")


@dataclass(frozen=True)
class Host:
    """Where the page is served: a name of the clinic's network, and the port if it is not 443. secure: by
    HTTPS; without it browsers have passkeys at `localhost` only.

    >>> [Host("post7.clinic").origin, Host("localhost", 8080, secure=False).origin]
    ['https://post7.clinic', 'http://localhost:8080']
    """

    name: str
    port: int = 443
    secure: bool = True

    def __post_init__(self) -> None:
        """Raises InputError for what no passkey can be bound to."""
        if self.name == "localhost" and 0 < self.port < 65_536:
            return
        if not self.secure:
            raise InputError("host", "a name that is served by HTTPS", f"http://{self.name}:{self.port}")
        numeric = True
        try:
            ipaddress.ip_address(self.name)
        except ValueError:
            numeric = False
        if numeric or not _HOSTNAME.fullmatch(self.name) or not 0 < self.port < 65_536:
            raise InputError(
                "host", "a name such as post7.clinic, in small letters", f"{self.name}:{self.port}"
            )

    @property
    def origin(self) -> str:
        scheme, usual = ("https", 443) if self.secure else ("http", 80)
        return f"{scheme}://{self.name}" + (f":{self.port}" if self.port != usual else "")


class Added(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `passkey-added`. credential: id in hex. key: COSE. host: that it is bound to."""

    user: str
    credential: Annotated[str, Meta(pattern="^([0-9a-f]{2}){1,1023}$")]
    key: bytes
    host: str


class Removed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `passkey-removed`."""

    user: str
    credential: str
    because: str


@dataclass(frozen=True)
class Passkey:
    """index: of its entry in the log."""

    index: int
    user: str
    credential: str
    key: bytes
    host: str


def passkeys_of(store: Store, user: User) -> list[Passkey]:
    """Those that count, the oldest first. Raises ArtefactError."""
    return [one for one in _all(store) if one.user == user.id and one.index > user.changed]


def offered(store: Store, host: Host) -> bool:
    """Whether anybody can sign in there by passkey. Raises ArtefactError."""
    added, people = _all(store), users(store)
    return any(
        one.host == host.name and people[one.user].usable and one.index > people[one.user].changed
        for one in added
    )


def begin_registration(
    store: Store,
    host: Host,
    who: str,
    pin: str,
    tablet: str,
    now: Moment,
    random: Callable[[int], bytes] = os.urandom,
) -> str:
    """For `navigator.credentials.create`, as JSON; she types her PIN once more. Raises InputError."""
    _installed()
    from webauthn import generate_registration_options, options_to_json
    from webauthn.helpers.structs import (
        AttestationConveyancePreference,
        AuthenticatorSelectionCriteria,
        PublicKeyCredentialDescriptor,
        ResidentKeyRequirement,
        UserVerificationRequirement,
    )

    user = tried(store, who, pin, tablet, now).user
    known = passkeys_of(store, user)
    if len(known) >= MOST:
        raise InputError("passkey", f"at most {MOST} of one user", f"{len(known)}")
    challenge = ask(store, user, "register", tablet, now, random)
    options = generate_registration_options(
        rp_id=host.name,
        rp_name="Akazuba",
        user_name=user.name,
        user_id=_handle(host, user.id),
        challenge=challenge,
        timeout=int(CHALLENGE_S * 1000),
        attestation=AttestationConveyancePreference.NONE,
        # a shared tablet keeps no list of who has one
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.DISCOURAGED,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[
            PublicKeyCredentialDescriptor(id=bytes.fromhex(one.credential)) for one in known
        ],
        supported_pub_key_algs=_algorithms(),
    )
    return options_to_json(options)


def register(store: Store, host: Host, who: str, answer: str | bytes, tablet: str, now: Moment) -> Passkey:
    """Takes in what `create` answered. Raises InputError without an open challenge of that user on that
    tablet, UntrustedError for an answer that does not hold.
    """
    from webauthn import verify_registration_response
    from webauthn.helpers.structs import AttestationFormat

    asked = asked_on(store, "register", tablet, now)
    user = user_of(users(store), who)
    if user.id != asked.user:
        raise InputError("passkey", f"a challenge of {user.id}", "another user's")
    if user.changed != asked.as_of:
        raise InputError("user", "one who was not changed meanwhile", user.id)
    given = _read(answer)
    verified = _ours(
        lambda: verify_registration_response(
            credential=given,
            expected_challenge=asked.value,
            expected_rp_id=host.name,
            expected_origin=host.origin,
            require_user_verification=True,
            supported_pub_key_algs=_algorithms(),
        )
    )
    if verified.fmt not in (AttestationFormat.NONE, AttestationFormat.PACKED):
        raise UntrustedError("passkey", "one without an attestation, as it was asked for", verified.fmt)
    credential = verified.credential_id.hex()
    if any(one.credential == credential for one in _all(store, removed=True)):
        raise InputError("passkey", "one that is nobody's yet", "one that is known")
    body = msgspec.json.encode(Added(user.id, credential, verified.credential_public_key, host.name))
    (entry,) = store.add_with(
        _counter(credential), _number(verified.sign_count), [Entry(ADDED, user.id, body)]
    )
    return Passkey(entry.index, user.id, credential, verified.credential_public_key, host.name)


def begin_sign_in(
    store: Store,
    host: Host,
    who: str,
    tablet: str,
    now: Moment,
    random: Callable[[int], bytes] = os.urandom,
) -> str:
    """For `navigator.credentials.get`, as JSON. Raises InputError for a user without a passkey."""
    _installed()
    from webauthn import generate_authentication_options, options_to_json
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor, UserVerificationRequirement

    known_tablet(tablet)
    user = user_of(users(store), who)
    known = [one for one in passkeys_of(store, user) if one.host == host.name]
    if not known or not user.usable:
        raise InputError("passkey", f"a user who has one for {host.name} and may sign in", user.id)
    challenge = ask(store, user, "sign-in", tablet, now, random)
    options = generate_authentication_options(
        rp_id=host.name,
        challenge=challenge,
        timeout=int(CHALLENGE_S * 1000),
        allow_credentials=[PublicKeyCredentialDescriptor(id=bytes.fromhex(it.credential)) for it in known],
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return options_to_json(options)


def signed_in(store: Store, host: Host, answer: str | bytes, tablet: str, now: Moment) -> Tried:
    """Takes in what `get` answered; `Door.started` opens the session. Whatever comes of it is logged.

    Raises InputError without an open challenge on that tablet or while it has to wait, UntrustedError for an
    answer that does not hold, or a counter that did not go on: then the device was perhaps copied.
    """
    from webauthn import verify_authentication_response

    asked = asked_on(store, "sign-in", tablet, now)
    book = {key: it for key, it in attempts_of(store).items() if not forgotten(key, it, now)}
    there = f"tablet {tablet}"
    if left := tablet_wait_s(book.get(there), now):
        turn_away(store, book, there, NOBODY, tablet, f"too many failed attempts here: {left:.0f} s to wait")
    user = user_of(users(store), asked.user)
    try:
        given = _read(answer)
        passkey = _named(store, host, user, given)
        before = _count(store, passkey.credential)
        verified = _ours(
            lambda: verify_authentication_response(
                credential=given,
                expected_challenge=asked.value,
                expected_rp_id=host.name,
                expected_origin=host.origin,
                credential_public_key=passkey.key,
                credential_current_sign_count=before,
                require_user_verification=True,
            )
        )
    except UntrustedError as problem:
        counted = {**book, there: book.get(there, Attempts(0, now)).once_more(now)}
        told = {"tablet": tablet, "factor": "passkey", "why": problem.found[:300]}
        log(store, counted, "sign-in-failed", user.id, told)
        raise
    right = {"tablet": tablet, "factor": "passkey", "passkey": passkey.index, "wrong_before": user.wrong}
    entry = Entry("sign-in", user.id, msgspec.json.encode(right))
    store.add_with(_counter(passkey.credential), _number(verified.new_sign_count), [entry])
    return Tried(user, user.wrong)


def remove(store: Store, by: str, who: str, credential: str, because: str) -> None:
    """A passkey counts no more: her own, or another's for whoever manages users. Raises InputError."""
    user = user_of(users(store), who)
    if by != user.id:
        acting(store, by, "manage-users")
    if credential not in [one.credential for one in passkeys_of(store, user)]:
        raise InputError("passkey", f"one of {user.id}", repr(credential[:20]))
    if not because.strip():
        raise InputError("passkey", "a reason", "none")
    body = msgspec.json.encode(Removed(user.id, credential, because.strip()[:500]))
    store.add(Entry(REMOVED, by, body))


# --- the log, and beside it ------------------------------------------------------------------------------


def _all(store: Store, *, removed: bool = False) -> list[Passkey]:
    try:
        gone = {
            msgspec.json.decode(entry.body or b"", type=Removed).credential
            for entry in store.entries(kind=REMOVED)
        }
        added = [
            (entry.index, msgspec.json.decode(entry.body or b"", type=Added))
            for entry in store.entries(kind=ADDED)
        ]
    except msgspec.MsgspecError as problem:
        raise ArtefactError("passkeys", "those of the log", str(problem)) from problem
    return [
        Passkey(index, it.user, it.credential, it.key, it.host)
        for index, it in added
        if removed or it.credential not in gone
    ]


def _named(store: Store, host: Host, user: User, given: Mapping[str, object]) -> Passkey:
    """Which of the user's passkeys answers. Raises UntrustedError."""
    known = [one for one in passkeys_of(store, user) if one.host == host.name] if user.usable else []
    found = [one for one in known if given.get("rawId") == _base64url(bytes.fromhex(one.credential))]
    if not found:
        raise UntrustedError("passkey", f"one of {user.id} that counts", "another one")
    response = given.get("response")
    handle = response.get("userHandle") if isinstance(response, dict) else None
    if handle not in (None, "", _base64url(_handle(host, user.id))):
        raise UntrustedError("passkey", f"one of {user.id}", "another user's")
    return found[0]


def _counter(credential: str) -> str:
    return f"passkey {credential}"


def _number(count: int) -> bytes:
    return str(count).encode()


def _count(store: Store, credential: str) -> int:
    raw = store.recall(_counter(credential)) or b""
    if not raw.isdigit():
        raise ArtefactError("passkey", "the count that was remembered", repr(raw[:20]))
    return int(raw)


def _handle(host: Host, user: str) -> bytes:
    """A user's id for her device, which tells it nothing."""
    return hashlib.sha256(b"akazuba passkey v1\0" + host.name.encode() + b"\0" + user.encode()).digest()


# --- the library -----------------------------------------------------------------------------------------


def installed() -> bool:
    return find_spec("webauthn") is not None


def _installed() -> None:
    """Raises InputError without the extra."""
    if not installed():
        raise InputError("passkeys", "the extra `passkeys`", "none: pip install 'akazuba[passkeys]'")


def _algorithms() -> list[COSEAlgorithmIdentifier]:
    from webauthn.helpers.cose import COSEAlgorithmIdentifier

    return [COSEAlgorithmIdentifier.ECDSA_SHA_256, COSEAlgorithmIdentifier.EDDSA]


def _read(answer: str | bytes) -> dict[str, object]:
    try:
        if len(answer) > MOST_BYTES:
            raise UntrustedError("passkey", f"an answer of at most {MOST_BYTES} bytes", "a longer one")
        given = json.loads(answer)
    except (ValueError, RecursionError) as problem:
        raise UntrustedError("passkey", "an answer as JSON", str(problem)[:100]) from problem
    if not isinstance(given, dict):
        raise UntrustedError("passkey", "an answer as JSON", "another value")
    return given


def _ours(verify: Callable[[], Made]) -> Made:
    """Whatever the library raises on what came from outside: some of it is none of its own errors."""
    try:
        return verify()
    except Exception as problem:
        found = str(problem) or type(problem).__name__
        raise UntrustedError("passkey", "an answer that holds", found[:300]) from problem


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
