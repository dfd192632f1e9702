"""Pictures that arrived and belong to no patient yet: each in a file of its own, sealed to the store's key.

They are sealed whether the box is locked or not, by the public half of the spool's key. They lie beside the
log and not in it: an entry of the log stays for good, and what is of no patient yet could never be erased
with her. A file goes once its picture was recorded in a consultation, or was discarded.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey

from akazuba.durable import sync_folder, write_durably
from akazuba.errors import ArtefactError, InputError, why_not_opened
from akazuba.storage.spool import SUITE
from akazuba.storage.unlocking import StoreKey, key_file

FOLDER = "arrived"
MOST = 200
"""So many may wait. More are refused, or stay where they are."""

_ABOUT, _PICTURE = b"akazuba arrived v1 about ", b"akazuba arrived v1 picture "
_ID = re.compile("[0-9a-f]{32}")
_END = ".sealed"


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """id: the first 16 bytes of the SHA-256 of the file that came, in hex. source: who sent it. kind: of
    picture, as the file itself suggests. name, born: what the file says of the patient: a hint, never
    believed. taken: the day of the picture. problems: why it may not be judged, in words.
    """

    id: str
    at_ms: int
    source: str
    kind: str
    modality: str = ""
    body_part: str = ""
    name: str = ""
    born: str = ""
    taken: str = ""
    problems: tuple[str, ...] = ()


def keep(home: Path, about: About, png: bytes) -> None:
    """On the disk when this returns. Raises InputError when too many wait, ArtefactError when the disk
    refuses.
    """
    if len(waiting(home)) >= MOST:
        raise InputError("pictures", f"fewer than {MOST} that wait to be attached", f"{MOST}")
    public = key_file(home).spool
    try:
        key = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:1184]),
            X25519PublicKey.from_public_bytes(public[1184:]),
        )
    except ValueError as problem:
        raise ArtefactError("key file", "the spool's public key", str(problem)) from problem
    name = about.id.encode()
    head = SUITE.encrypt(msgspec.msgpack.encode(about), key, info=_ABOUT + name)
    sealed = len(head).to_bytes(4, "big") + head + SUITE.encrypt(png, key, info=_PICTURE + name)
    path = _path(home, about.id)
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_durably(path, sealed)
    except OSError as problem:
        raise ArtefactError(str(path), "room for a picture", why_not_opened(problem)) from problem


def waiting(home: Path) -> list[str]:
    """Their ids; the newest file last."""
    try:
        files = sorted((home / FOLDER).glob(f"*{_END}"), key=lambda path: (path.stat().st_mtime, path.name))
    except FileNotFoundError:
        return []
    return [path.name.removesuffix(_END) for path in files if _ID.fullmatch(path.name.removesuffix(_END))]


def about(home: Path, id_: str, key: StoreKey) -> About:
    """Raises InputError for one that does not wait, ArtefactError for a file that does not open."""
    head, _ = _parts(home, id_)
    found = _opened(home, id_, key, head, _ABOUT)
    try:
        return msgspec.msgpack.decode(found, type=About)
    except msgspec.MsgspecError as problem:
        raise ArtefactError(str(_path(home, id_)), "a picture that arrived", str(problem)) from problem


def picture(home: Path, id_: str, key: StoreKey) -> bytes:
    """The PNG. Raises as `about` does."""
    _, sealed = _parts(home, id_)
    return _opened(home, id_, key, sealed, _PICTURE)


def drop(home: Path, id_: str) -> None:
    """The file goes; a second time does no harm."""
    path = _path(home, id_)
    path.unlink(missing_ok=True)
    if path.parent.exists():
        sync_folder(path.parent)


def _parts(home: Path, id_: str) -> tuple[bytes, bytes]:
    try:
        data = _path(home, id_).read_bytes()
    except FileNotFoundError as problem:
        raise InputError("picture", "one that waits", "none of that id") from problem
    except OSError as problem:
        raise ArtefactError(str(_path(home, id_)), "a sealed picture", why_not_opened(problem)) from problem
    end = 4 + int.from_bytes(data[:4], "big")
    return data[4:end], data[end:]


def _opened(home: Path, id_: str, key: StoreKey, sealed: bytes, info: bytes) -> bytes:
    try:
        return SUITE.decrypt(sealed, MLKEM768X25519PrivateKey(*key.spool), info=info + id_.encode())
    except (InvalidTag, ValueError) as problem:
        found = "one that does not open"
        raise ArtefactError(str(_path(home, id_)), "a picture sealed to this store", found) from problem


def _path(home: Path, id_: str) -> Path:
    if not _ID.fullmatch(id_):
        raise InputError("picture", "the id of one that waits", repr(id_[:40]))
    return home / FOLDER / f"{id_}{_END}"
