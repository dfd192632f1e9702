"""A copy of the store that another device can open: one encrypted file and a recovery key, no device secret.

The recovery key file holds the store's key under a passphrase of its own (Argon2id, RFC 9106), which is kept
on paper away from the box; whoever finds the copy and the paper reads everything. The copy says inside how
long the log was and what its root was. Restoring checks both, and erases whoever was erased since, before
the new device can open it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta

from akazuba.durable import sync_folder, write_durably
from akazuba.errors import ArtefactError, InputError, why_not_opened
from akazuba.merkle import Frontier
from akazuba.storage.store import Entry, Random, Store, patient_erased
from akazuba.storage.unlocking import FILE, Cost, StoreKey, long_enough, refuse_second, stretched, wrap

RECOVERY_FILE = "recovery.key.json"
RECOVERY_LEAST = 16
"""Characters: a copy lacks the device's secret, so that the passphrase alone protects it."""

STATEMENT = "backup"


class RecoveryFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """wrapped: the store's key under AES-256-GCM."""

    version: Annotated[int, Meta(ge=1, le=1)]
    salt: Annotated[bytes, Meta(min_length=16, max_length=16)]
    cost: Cost
    nonce: Annotated[bytes, Meta(min_length=12, max_length=12)]
    wrapped: Annotated[bytes, Meta(min_length=48, max_length=48)]


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a copy holds. root: 32 bytes. note: a signed checkpoint of the log, of that size or before, "" for
    none.
    """

    size: int
    root: bytes
    made_ms: int
    note: str = ""


@dataclass(frozen=True)
class Restored:
    """said: what the copy said of itself. erased: the patients whom it still knew and who are erased now."""

    said: Statement
    erased: list[str]


def set_recovery(
    home: Path, key: StoreKey, passphrase: str, random: Random = os.urandom, cost: Cost | None = None
) -> None:
    """Makes the recovery key, or makes it anew: copies from now on open with this passphrase.

    Raises InputError for too short a passphrase, ArtefactError when the disk refuses.
    """
    long_enough(passphrase, RECOVERY_LEAST)
    file = RecoveryFile(1, random(16), cost or Cost(), random(12), bytes(48))
    wrapped = AESGCM(_kek(passphrase, file)).encrypt(file.nonce, key.secret, _bound(file))
    with _disk(home / RECOVERY_FILE):
        data = msgspec.json.encode(msgspec.structs.replace(file, wrapped=wrapped))
        write_durably(home / RECOVERY_FILE, data)


def backup(
    store: Store,
    home: Path,
    target: Path,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    note: Callable[[int, bytes], str] | None = None,
) -> Statement:
    """Makes the folder `target` with the copy in it; it counts when it was read once from end to end.

    note: a signed checkpoint, of a size and a root or before. Raises InputError when the target exists or the
    home has no recovery key (`set_recovery`), ArtefactError when the disk refuses.
    """
    if target.exists():
        raise InputError("backup", "a folder that does not exist yet", str(target))
    if not (home / RECOVERY_FILE).exists():
        raise InputError("backup", "a recovery passphrase, set before", f"no {home / RECOVERY_FILE}")
    said = Statement(store.size, store.root, now_ms(), note(store.size, store.root) if note else "")
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    with _disk(target):
        try:
            draft.mkdir(parents=True, mode=0o700)
            write_durably(draft / RECOVERY_FILE, (home / RECOVERY_FILE).read_bytes())
            copy = draft / FILE
            os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            store.copy_to(copy, STATEMENT, msgspec.json.encode(said))
            with copy.open("rb") as file:
                os.fsync(file.fileno())
            sync_folder(draft)
            draft.replace(target)
            sync_folder(target.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return said


def restore(
    source: Path,
    home: Path,
    recovery_passphrase: str,
    new_passphrase: str,
    erase: Iterable[str] = (),
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    random: Random = os.urandom,
    cost: Cost | None = None,
    vouched: Callable[[Store, Statement], None] = lambda _store, _said: None,
) -> Restored:
    """Makes a copy this device's store, under a new passphrase and this device's secret.

    erase: patients whom a later log says were erased. vouched: raises when the statement's note does not hold
    for the copy (`cosigning.vouch`: the log's signatures are governance's to know). Raises InputError when
    the home has a store already, for a wrong passphrase and for a patient whom the copy never knew,
    ArtefactError for a copy that is not what it says. Nothing is made then.
    """
    refuse_second(home)
    long_enough(new_passphrase)
    key = _recovered(source, recovery_passphrase)
    draft = home / f".restoring.{os.getpid()}"
    with _disk(home):
        try:
            draft.mkdir(parents=True, mode=0o700)
            shutil.copyfile(source / FILE, draft / FILE)
            with closing(Store(draft, key, now_ms, random)) as store:
                said = checked(store)
                vouched(store, said)
                gone = _erased(store, erase)
                store.add(Entry("restored", "box", msgspec.json.encode(said)))
            with (draft / FILE).open("rb") as file:
                os.fsync(file.fileno())
            write_durably(home / RECOVERY_FILE, (source / RECOVERY_FILE).read_bytes())
            (draft / FILE).replace(home / FILE)
            sync_folder(home)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    wrap(home, key, new_passphrase, random, cost or Cost())
    return Restored(said, gone)


def checked(store: Store) -> Statement:
    """A copy's statement, after every page was checked and every leaf hashed anew.

    Raises ArtefactError when they disagree.
    """
    data = store.recall(STATEMENT)
    if data is None:
        raise ArtefactError("backup", "a copy that says how long its log is", "one that says nothing")
    try:
        said = msgspec.json.decode(data, type=Statement)
    except msgspec.MsgspecError as problem:
        raise ArtefactError("backup", "a statement", str(problem)) from problem
    if damaged := store.damaged():
        raise ArtefactError("backup", "sound pages", damaged[0])
    log = Frontier()
    for index, leaf in store.leaves():
        if index != log.size:
            raise ArtefactError("backup", f"entry {log.size}", "none")
        log, _ = log.appended(leaf)
    if (log.size, log.root()) != (said.size, said.root):
        expected = f"{said.size} entries under the root {said.root.hex()[:16]}…"
        raise ArtefactError("backup", expected, f"{log.size} under {log.root().hex()[:16]}…")
    return said


def _erased(store: Store, patients: Iterable[str]) -> list[str]:
    """Those whom the copy still knew. One whom it never knew may be a mistyped one who stays readable."""
    wanted = list(dict.fromkeys(patients))
    known, before = list[str](), {patient_erased(entry) for entry in store.entries(kind="erasure")}
    strangers = list[str]()
    for patient in wanted:
        try:
            known.append(store.person(patient).id)
        except InputError:
            strangers += [] if patient in before else [patient]
    if strangers:
        expected = "patients whom the copy knows (leave out who came after it was made)"
        raise InputError("patients to erase", expected, ", ".join(strangers))
    for patient in known:
        store.erase(patient, "box", "erased after this copy was made")
    return known


def _recovered(source: Path, passphrase: str) -> StoreKey:
    path = source / RECOVERY_FILE
    try:
        file = msgspec.json.decode(path.read_bytes(), type=RecoveryFile)
    except FileNotFoundError as problem:
        raise InputError("backup", f"a folder with {RECOVERY_FILE}", str(source)) from problem
    except (OSError, msgspec.MsgspecError) as problem:
        raise ArtefactError(str(path), "the recovery key", why_not_opened(problem)) from problem
    try:
        return StoreKey(AESGCM(_kek(passphrase, file)).decrypt(file.nonce, file.wrapped, _bound(file)))
    except InvalidTag as problem:
        raise InputError("passphrase", "the recovery passphrase of this copy", "another one") from problem


def _kek(passphrase: str, file: RecoveryFile) -> bytes:
    derived = HKDF(SHA256(), 32, file.salt, b"akazuba recovery v1")
    return derived.derive(stretched(passphrase, file.salt, file.cost))


def _bound(file: RecoveryFile) -> bytes:
    return msgspec.json.encode((file.version, file.cost))


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise ArtefactError(str(path), "a folder with room", why_not_opened(problem)) from problem
