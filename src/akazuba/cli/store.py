"""`akazuba store …`: the box's records: made, unlocked, copied, rescued; patients found, handed out, erased.

The passphrase comes from AKAZUBA_PASSPHRASE, else from a hidden prompt; never from an argument.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from akazuba.cli.audit_keys import KEYS
from akazuba.cli.shared import errors_shown, show
from akazuba.cli.store_patients import AS, JSON, consent, erase, export, patients, withdraw
from akazuba.errors import InputError, why_not_opened

if TYPE_CHECKING:
    from akazuba.governance.roles import Action
    from akazuba.storage.store import Store
    from akazuba.storage.unlocking import StoreKey

UNLOCKS = "AKAZUBA_PASSPHRASE"
NEW = "AKAZUBA_NEW_PASSPHRASE"
RECOVERS = "AKAZUBA_RECOVERY_PASSPHRASE"
TERMINAL = "terminal"
"""What the log calls the place where these commands are typed."""


@contextmanager
def opened_store(*, read_only: bool = False) -> Iterator[Store]:
    """Unlocked. To write: what was recorded while locked is merged, and a checkpoint is taken at the start
    and at the end where the log has grown since the last one.
    """
    with _opened(_home(), _unlocked(), read_only=read_only) as store:
        yield store


@contextmanager
def _opened(home: Path, key: StoreKey, *, read_only: bool = False) -> Iterator[Store]:
    from akazuba.governance.audit_anchors import keep
    from akazuba.governance.locked import take_in
    from akazuba.storage.spool import merge
    from akazuba.storage.store import Store

    with closing(Store(home, key, now_ms, read_only=read_only)) as store:
        if read_only:
            yield store
            return
        merged = merge(home, store, key)
        take_in(store)
        if merged.unreadable or merged.misplaced:
            click.echo(
                f"recorded while locked: {merged.entries} merged, {merged.unreadable} unreadable,"
                f" {merged.misplaced} misplaced: see `akazuba audit show`",
                err=True,
            )
        first = store.size
        keep(home, store, now_s)
        if next(store.entries(kind="log-put-back", first=first), None):
            click.echo("the store lacks entries that it had: see `akazuba audit verify`", err=True)
        try:
            yield store
        finally:
            keep(home, store, now_s)


def acting(store: Store, who: str | None, action: Action) -> str:
    """Who acts, as the log names her, after her PIN. Before there are users: whoever has the passphrase.

    Raises InputError when the role does not allow it.
    """
    from akazuba.governance.users import PASSPHRASE, acting as allowed, users

    if who is None:
        if users(store):
            raise InputError("--as", f"a user who may {action}", "nobody")
        return PASSPHRASE
    return allowed(store, signed_in(store, who), action).id


def signed_in(store: Store, who: str) -> str:
    """A user's id, after her PIN; she is told of wrong ones before it."""
    from akazuba.governance.pins import system_moment
    from akazuba.governance.signing_in import tried
    from akazuba.governance.site_rules import let_in, outside_hours

    pin = str(click.prompt(f"PIN of {who}", hide_input=True, err=True))
    right = tried(store, who, pin, TERMINAL, system_moment())
    if right.wrong_before:
        click.echo(f"{right.wrong_before} attempts with a wrong PIN before this one", err=True)
    user = right.user
    if why := outside_hours(store, user.role):
        reason = str(click.prompt(f"{user.name} signs in {why}. Reason", default="", err=True))
        store.add(*let_in(store, user.id, user.role, TERMINAL, reason))
    return user.id


def passphrase(what: str, variable: str, *, new: bool = False) -> str:
    """From the environment, else a hidden prompt; a new one is asked for twice. Raises InputError."""
    if given := os.environ.get(variable):
        return given
    again: bool | str = "the same once more" if new else False
    try:
        return str(click.prompt(what, hide_input=True, err=True, confirmation_prompt=again))
    except click.Abort as problem:
        raise InputError(what, f"one typed, or {variable}", "none") from problem


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def now_s() -> int:
    return int(time.time())


def moment(at_ms: int) -> str:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{at_ms} ms since 1970"


def read_file(path: Path, what: str, most: int) -> bytes:
    """Raises InputError when it cannot be read, or is larger."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as problem:
        raise InputError(str(path), what, why_not_opened(problem)) from problem
    if len(data) > most:
        raise InputError(str(path), f"{what} of at most {most} bytes", "a larger one")
    return data


def written(out: Path | None, data: bytes) -> None:
    """To the file, readable by its owner only, else to stdout. Raises InputError."""
    from akazuba.durable import write_durably

    if out is None:
        show(data.rstrip(b"\n"))
        return
    try:
        write_durably(out, data)
    except OSError as problem:
        raise InputError(str(out), "a file that can be written", why_not_opened(problem)) from problem


@click.group()
def store() -> None:
    """The box's encrypted records: set up, copy, rescue; find, hand out or erase a patient's.

    Example: akazuba store patients uwimana
    """


for command in (patients, consent, withdraw, export, erase):
    store.add_command(command)


@store.command()
def init() -> None:
    """Set up an empty store under a passphrase and this device's secret.

    Example: akazuba store init
    """
    from akazuba.storage.tpm import sealed
    from akazuba.storage.unlocking import device_kept, refuse_second, set_up

    with errors_shown():
        home = _home()
        refuse_second(home)
        key = set_up(home, passphrase("new passphrase of the store", UNLOCKS, new=True))
        with _opened(home, key) as made:
            size = made.size
        kept, in_tpm = device_kept(home), sealed(home) is not None
    show(f"store set up in {home}; its log has {size} entry. Keep the passphrase: nobody can restore it.")
    why = "" if in_tpm else ": no TPM was used (there is none, or no tpm2-tools, or no right to use it)"
    show(f"this device's secret lies {kept}{why}")


@store.command("show")
@JSON
def show_store(as_json: bool) -> None:
    """Show how the box's files are protected. Takes no passphrase and opens nothing.

    Example: akazuba store show
    """
    from akazuba.cli.shared import as_text
    from akazuba.storage.arrived import waiting as pictures
    from akazuba.storage.backup import RECOVERY_FILE
    from akazuba.storage.beside import described
    from akazuba.storage.spool import FILE as SPOOL
    from akazuba.storage.tpm import sealed
    from akazuba.storage.unlocking import FILE, KEY_FILE, device_kept
    from akazuba.waiting.queue import FILE as QUEUE

    with errors_shown():
        home = _home()
        facts = {
            "home": str(home),
            "store": "set up" if (home / KEY_FILE).exists() else "none: `akazuba store init` makes one",
            "store_bytes": _size(home / FILE),
            "device_secret": device_kept(home),
            "tpm": sealed(home) is not None,
            "recovery_passphrase": "set" if (home / RECOVERY_FILE).exists() else "none: no copy was made",
            "queue": described(home / QUEUE),
            "recorded_while_locked_bytes": _size(home / SPOOL),
            "pictures_waiting": len(pictures(home)),
        }
    show(json.dumps(facts) if as_json else as_text(facts))


@store.command("change-passphrase")
def change() -> None:
    """Change the store's passphrase. Copies of the key file from before still open with the old one.

    Where the spool's public key was exchanged on the disk, this puts the right one back, and the log says so.

    Example: akazuba store change-passphrase
    """
    from akazuba.storage.store import Entry
    from akazuba.storage.unlocking import change_passphrase

    with errors_shown():
        old = passphrase("passphrase of the store", UNLOCKS)
        new = passphrase("new passphrase", NEW, new=True)
        exchanged = change_passphrase(_home(), old, new)
        with _opened(_home(), _unlocked(new)) as opened:
            if exchanged:
                why = {"why": "another public key of the spool stood in the key file"}
                opened.add(Entry("spool-key-exchanged", "box", json.dumps(why).encode()))
            opened.add(Entry("passphrase-changed", "passphrase", b"{}"))
    show("the passphrase is changed")
    if exchanged:
        click.echo("the spool's public key had been exchanged; the right one is back", err=True)


@store.command()
@click.argument("target", type=click.Path(path_type=Path))
@AS
@JSON
def backup(target: Path, who: str | None, as_json: bool) -> None:
    """Copy the store into the new folder TARGET. The copy opens with the recovery passphrase alone.

    The first time it asks for a new recovery passphrase, 16 characters or more: keep it on paper, elsewhere.

    Example: akazuba store backup /media/usb/2026-11-29
    """
    from akazuba.governance.audit_anchors import last_note
    from akazuba.storage.backup import RECOVERY_FILE, backup as copy, set_recovery
    from akazuba.storage.store import Entry

    with errors_shown():
        home, key = _home(), _unlocked()
        with _opened(home, key) as opened:
            by = acting(opened, who, "operate")
            if not (home / RECOVERY_FILE).exists():
                set_recovery(home, key, passphrase("new recovery passphrase", RECOVERS, new=True))
            note = last_note(opened)
            said = copy(opened, home, target, now_ms, lambda _size, _root: note)
            opened.add(Entry("backup", by, json.dumps({"size": said.size, "root": said.root.hex()}).encode()))
    facts = {"folder": str(target), "entries": said.size, "root": said.root.hex()}
    show(json.dumps(facts) if as_json else f"{target}: {said.size} entries, root {said.root.hex()}")


@store.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--erased", multiple=True, metavar="PATIENT", help="Erased after the copy was made; any number."
)
@KEYS
@JSON
def restore(source: Path, erased: tuple[str, ...], keys: tuple[Path, ...], as_json: bool) -> None:
    """Make the copy in the folder SOURCE this device's store, under a new passphrase.

    The signed checkpoint in the copy has to hold for it, under the log's key that you give, else under those
    that the copy itself names. A patient whom the copy never knew is refused, for she may be mistyped.

    Example: akazuba store restore /media/usb/2026-11-29 --erased p17
    """
    from akazuba.cli.audit_keys import keys_of
    from akazuba.governance.cosigning import vouch
    from akazuba.storage.backup import restore as bring_back
    from akazuba.storage.unlocking import refuse_second

    with errors_shown():
        known, home = keys_of(keys), _home()
        refuse_second(home)
        recovery = passphrase("recovery passphrase of the copy", RECOVERS)
        new = passphrase("new passphrase of this store", UNLOCKS, new=True)
        back = bring_back(
            source, home, recovery, new, erased, now_ms, vouched=lambda copy, said: vouch(copy, said, known)
        )
        with opened_store() as opened:
            size = opened.size
    facts = {"copied": back.said.size, "entries": size, "erased": back.erased}
    words = f"restored {back.said.size} entries; {len(back.erased)} patients erased again"
    show(json.dumps(facts) if as_json else words)


@store.command()
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write every readable entry there, IN THE CLEAR."
)
@JSON
def salvage(out: Path | None, as_json: bool) -> None:
    """Read what is left of a damaged store, page by page; nothing of it is written to.

    Nothing here can be logged, for the log is what is broken: note who did it and why.

    Example: akazuba store salvage --out /media/usb/salvaged.ndjson
    """
    import msgspec

    from akazuba.storage.rescue import salvage as saved

    with errors_shown():
        found = saved(_home(), _unlocked())
        readable = [entry for entry in found.entries if entry.body is not None]
        if out is not None:
            lines = [msgspec.json.encode(asdict(entry)) + b"\n" for entry in readable]
            written(out, b"".join(lines))
    facts = {
        "entries": len(found.entries),
        "readable": len(readable),
        "lost": found.lost,
        "why": found.why,
    }
    words = f"{len(found.entries)} entries, {len(readable)} readable, {len(found.lost)} lost; {found.why}"
    show(json.dumps(facts) if as_json else words)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _home() -> Path:
    from akazuba.settings import from_environ

    return from_environ().home


def _unlocked(given: str | None = None) -> StoreKey:
    from akazuba.storage.unlocking import key_file, unlocked

    home = _home()
    key_file(home)  # nobody types a passphrase for a store that is not there
    return unlocked(home, given or passphrase("passphrase of the store", UNLOCKS))
