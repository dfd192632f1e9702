"""Checkpoints: how far a log stood and what its root was, as a text that the log has signed.

The form is C2SP's (tlog-checkpoint in a signed-note, c2sp.org), so programs of others read them. Each carries
two signatures over the same text: Ed25519 as C2SP defines it, and ML-DSA-65 under an identifier of our own
(type 0xff), for C2SP has one for ML-DSA-44 (0x06) and none for ML-DSA-65. Ours count only when both hold.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

from akazuba.errors import InputError, UntrustedError
from akazuba.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE
from akazuba.privacy.keys.identity import Identity, PublicIdentity

ED25519 = b"\x01"
"""Over the note's text (signed-note, "Signature types")."""

ED25519_COSIGNATURE = b"\x04"
"""Over a time and the note's text (tlog-cosignature, "Ed25519 signed message")."""

MLDSA65 = b"\xffakazuba note ML-DSA-65 v1"
MLDSA65_COSIGNATURE = b"\xffakazuba cosignature ML-DSA-65 v1"
"""Over the same bytes as their Ed25519 twins, with the type as the context of FIPS 204."""

LOG_TYPES = (ED25519, MLDSA65)
WITNESS_TYPES = (ED25519_COSIGNATURE, MLDSA65_COSIGNATURE)

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100
"""Those of Go's sumdb/note; signed-note asks for a limit of at least 16 signatures."""

MAX_TIME = (1 << 63) - 1
TIME_BYTES = 8

_LINE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_NAME = re.compile(r"[^\s+\x00-\x1f\ud800-\udfff]+")


@dataclass(frozen=True)
class Key:
    """A public key as notes know it. type: one of the four above."""

    name: str
    type: bytes
    public: bytes

    @cached_property
    def id(self) -> bytes:
        """4 bytes (signed-note, "Signatures"): it tells keys apart and proves nothing."""
        return sha256(self.name.encode() + b"\n" + self.type + self.public).digest()[:4]

    def verify(self, text: str, signature: bytes) -> int:
        """The time of a cosignature (seconds since 1970), else 0. Raises UntrustedError."""
        stamp, rest = (signature[:TIME_BYTES], signature[TIME_BYTES:]) if self._timed else (b"", signature)
        time = int.from_bytes(stamp, "big")
        if time > MAX_TIME:
            raise UntrustedError(f"cosignature of {self.name}", f"a time up to {MAX_TIME}", str(time))
        message = _message(text, time if self._timed else None)
        try:
            if self.type in (MLDSA65, MLDSA65_COSIGNATURE):
                MLDSA65PublicKey.from_public_bytes(self.public).verify(rest, message, self.type)
            else:
                Ed25519PublicKey.from_public_bytes(self.public).verify(rest, message)
        except (InvalidSignature, ValueError) as problem:
            expected = f"a signature by {self.name}+{self.id.hex()}"
            raise UntrustedError("note", expected, "one that does not verify") from problem
        return time

    @property
    def _timed(self) -> bool:
        return self.type in WITNESS_TYPES


@dataclass(frozen=True)
class Verifier:
    """Who is believed, under which name. A log's name is its origin (tlog-checkpoint, "Signatures")."""

    name: str
    public: PublicIdentity

    def __post_init__(self) -> None:
        """Raises InputError for a name that no note can hold."""
        if not _NAME.fullmatch(self.name):
            raise InputError("name of a key", "one without spaces and plus signs", repr(self.name))

    def keys(self, types: tuple[bytes, bytes]) -> tuple[Key, Key]:
        """types: LOG_TYPES or WITNESS_TYPES; first the Ed25519 key, then the ML-DSA-65 one."""
        return (
            Key(self.name, types[0], self.public.ed25519),
            Key(self.name, types[1], self.public.mldsa65),
        )


@dataclass(frozen=True)
class Note:
    """text: what was signed, with its last newline. signatures: key name, key id, signature; not verified."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]


@dataclass(frozen=True)
class Checkpoint:
    """root: 32 bytes. extensions: further lines, such as "time 1790000000"; no monitor can check those."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        lines = (self.origin, str(self.size), b64encode(self.root).decode(), *self.extensions)
        return "".join(f"{line}\n" for line in lines)

    def stated(self, name: str) -> int | None:
        """The number in the one extension line of that name.

        >>> Checkpoint("box-7.akazuba", 0, EMPTY_ROOT, ("time 1790000000", "counter 12")).stated("counter")
        12
        """
        found = [line.removeprefix(f"{name} ") for line in self.extensions if line.startswith(f"{name} ")]
        return int(found[0]) if len(found) == 1 and _NUMBER.fullmatch(found[0]) else None


def signed(checkpoint: Checkpoint, identity: Identity, name: str) -> str:
    """The note with both signatures. name: the origin, when the log itself signs.

    Raises InputError for what no checkpoint can say.
    """
    text = checkpoint.text
    try:
        same = read_checkpoint(_plain(text)) == checkpoint
    except UntrustedError as problem:
        raise InputError(problem.item, problem.expected, problem.found) from problem
    if not same:
        raise InputError("checkpoint", "an origin and extensions of one line each", repr(text[:200]))
    return text + "\n" + signature_lines(text, identity, name)


def signature_lines(text: str, identity: Identity, name: str, time: int | None = None) -> str:
    """Two lines, each with its newline, to be put after a note. time: makes them cosignatures of then."""
    keys = Verifier(name, identity.public).keys(LOG_TYPES if time is None else WITNESS_TYPES)
    message, stamp = _message(text, time), b"" if time is None else time.to_bytes(TIME_BYTES, "big")
    made = (
        Ed25519PrivateKey.from_private_bytes(identity.ed25519_seed).sign(message),
        MLDSA65PrivateKey.from_seed_bytes(identity.mldsa65_seed).sign(message, keys[1].type),
    )
    signatures = (b64encode(key.id + stamp + half).decode() for key, half in zip(keys, made, strict=True))
    return "".join(f"— {name} {signature}\n" for signature in signatures)


def opened(note: str | bytes, verifiers: Sequence[Verifier]) -> tuple[Checkpoint, tuple[str, ...]]:
    """What the log says, and the names of all the verifiers who signed it.

    verifiers: the log's keys (more than one while they are exchanged) and whoever else signs whole notes.
    Signatures of others are ignored. Raises UntrustedError for a malformed note, for a signature of a known
    key that does not hold, for one whose twin is missing, and when the log has not signed.
    """
    read = read_note(note)
    known = [verifier.keys(LOG_TYPES) for verifier in verifiers]
    held = {key for key, _ in verified(read, [key for pair in known for key in pair])}
    names = []
    for old, new in known:
        if (old in held) != (new in held):
            missing = "ML-DSA-65" if old in held else "Ed25519"
            raise UntrustedError("note", f"both signatures of {old.name}", f"none with {missing}")
        if old in held:
            names.append(old.name)
    if not names:
        expected = "signatures of " + (", ".join(verifier.name for verifier in verifiers) or "a known log")
        raise UntrustedError("note", expected, "none of theirs")
    checkpoint = read_checkpoint(read.text)
    if checkpoint.origin not in names:
        expected = f"signatures of {checkpoint.origin}, whose checkpoint it is"
        raise UntrustedError("checkpoint", expected, ", ".join(names))
    return checkpoint, tuple(names)


def verified(note: Note, keys: Iterable[Key]) -> list[tuple[Key, int]]:
    """Which of the keys signed, and when (0 where the type holds no time). Nobody else's signature matters.

    Raises UntrustedError for a signature of a known key that does not hold (signed-note, "Signatures").
    """
    known = dict[tuple[str, bytes], Key]()
    for key in keys:
        if known.setdefault((key.name, key.id), key) != key:
            raise InputError("keys", "one key for each name and id", f"two for {key.name}+{key.id.hex()}")
    return [
        (known[name, id_], known[name, id_].verify(note.text, signature))
        for name, id_, signature in note.signatures
        if (name, id_) in known
    ]


def read_note(data: str | bytes) -> Note:
    """Form only. Raises UntrustedError for what signed-note, "Format", does not allow."""
    text = _plain(data)
    if not text.endswith("\n"):
        raise UntrustedError("note", "a newline at its end", repr(text[-20:]))
    body, blank, rest = text.rpartition("\n\n")
    if not blank or not rest:
        raise UntrustedError("note", "a text, an empty line and signatures", repr(text[-60:]))
    lines = rest[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise UntrustedError("note", f"at most {MAX_SIGNATURES} signatures", str(len(lines)))
    return Note(body + "\n", tuple(_signature(line) for line in lines))


def read_checkpoint(text: str) -> Checkpoint:
    """From a note's text. Raises UntrustedError for what tlog-checkpoint, "Note text", does not allow."""
    lines = text.split("\n")
    if lines.pop() or len(lines) < 3 or not all(lines):
        raise UntrustedError("checkpoint", "three or more lines, none empty", repr(text[:80]))
    origin, size, root, *extensions = lines
    if not _NUMBER.fullmatch(size) or int(size) > MAX_SIZE:
        expected = f"a number up to {MAX_SIZE} without leading zeros"
        raise UntrustedError("checkpoint, size", expected, repr(size[:30]))
    hash_ = _base64("checkpoint, root", root)
    if len(hash_) != HASH_BYTES:
        raise UntrustedError("checkpoint, root", f"{HASH_BYTES} bytes", f"{len(hash_)} bytes")
    if size == "0" and hash_ != EMPTY_ROOT:
        raise UntrustedError("checkpoint, root", "the root of an empty log", root)
    return Checkpoint(origin, int(size), hash_, tuple(extensions))


def _plain(data: str | bytes) -> str:
    try:
        text = data if isinstance(data, str) else data.decode()
        size = len(text.encode())
    except UnicodeError as problem:
        raise UntrustedError("note", "UTF-8", str(problem)) from problem
    if size > MAX_NOTE_BYTES:
        raise UntrustedError("note", f"at most {MAX_NOTE_BYTES} bytes", f"{size} bytes")
    if control := _CONTROL.search(text):
        raise UntrustedError("note", "no control characters", repr(control.group()))
    return text


def _signature(line: str) -> tuple[str, bytes, bytes]:
    parts = _LINE.fullmatch(line)
    if parts is None:
        raise UntrustedError("note", "a signature line (— name base64)", repr(line[:60]))
    data = _base64("signature", parts[2])
    if len(data) < 5:
        raise UntrustedError("signature", "4 bytes of key id and more", f"{len(data)} bytes")
    return parts[1], data[:4], data[4:]


def _base64(item: str, text: str) -> bytes:
    """Of its many spellings only the one that an encoder writes (RFC 4648, 3.5)."""
    try:
        data = b64decode(text, validate=True)
    except (Base64Error, ValueError) as problem:
        raise UntrustedError(item, "base64", repr(text[:60])) from problem
    if b64encode(data).decode() != text:
        raise UntrustedError(item, "canonical base64", repr(text[-20:]))
    return data


def _message(text: str, time: int | None) -> bytes:
    """What is signed. With a time: tlog-cosignature, "Ed25519 signed message"."""
    return (text if time is None else f"cosignature/v1\ntime {time}\n{text}").encode()
