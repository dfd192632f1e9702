"""`akazuba audit witness` and `audit cosigned`: two boxes vouch for each other, by file, stick or QR."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from akazuba.cli.audit_keys import KEYS, WITNESSES, keys_of, untrusted_shown
from akazuba.cli.shared import errors_shown, show
from akazuba.cli.store_patients import AS, JSON
from akazuba.errors import InputError, UntrustedError

if TYPE_CHECKING:
    from akazuba.governance.checkpoint import Verifier
    from akazuba.governance.witness import Witness
    from akazuba.storage.store import Store

CARRIED_MOST_BYTES = 4_000_000
FILE = "witness.sqlite3"
"""Of the box's home: how far it has seen which log."""

OUT = click.option("--out", type=click.Path(path_type=Path), help="The file; without it, stdout.")


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@KEYS
@click.option("--qr", is_flag=True, help="As lines for QR codes, which the other box scans.")
@click.option(
    "--proof", type=click.Path(path_type=Path), help="Where a proof goes that the log lied, if it did."
)
@AS
@OUT
def witness(
    checkpoint: Path, keys: tuple[Path, ...], qr: bool, proof: Path | None, who: str | None, out: Path | None
) -> None:
    """Cosign another box's CHECKPOINT: this box saw it, and it continues what this box saw before.

    CHECKPOINT: what `audit checkpoint --since SIZE` wrote there, plain, as JSON or as lines of QR codes. The
    log's key is needed the first time; it is remembered. Exit code 1 for a log that was rewritten.

    Example: akazuba audit witness checkpoint.txt --key other.key.json --out cosigned.txt
    """
    from akazuba.cli.store import acting, opened_store, read_file, written
    from akazuba.governance.cosigning import carried, known_logs, learn_log, witnessed
    from akazuba.governance.witness import as_lines_for_qr

    with errors_shown():
        given = keys_of(keys)
        with untrusted_shown():
            note, path = carried(read_file(checkpoint, "a checkpoint", CARRIED_MOST_BYTES))
        with opened_store() as opened:
            by = acting(opened, who, "operate")
            for key in given:
                learn_log(opened, by, key)
            with closing(_witness(opened, known_logs(opened))) as seer, untrusted_shown():
                try:
                    lines = witnessed(opened, by, seer, note, path)
                except UntrustedError:
                    _tell(seer, note, proof)
                    raise
        text = "\n".join(as_lines_for_qr(lines)) + "\n" if qr else lines
        written(out, text.encode())


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@WITNESSES
@AS
@JSON
def cosigned(file: Path, witnesses: tuple[Path, ...], who: str | None, as_json: bool) -> None:
    """Take a witness's cosignature of this log into `checkpoints.txt`, so that `audit verify` counts it.

    FILE: what `audit witness` wrote there, or its two lines alone. Exit code 1 when it does not hold.

    Example: akazuba audit cosigned cosigned.txt --witness other.key.json
    """
    from akazuba.cli.store import acting, opened_store, read_file
    from akazuba.governance.cosigning import carried, take_back
    from akazuba.report import one_line
    from akazuba.settings import from_environ

    with errors_shown():
        seers = keys_of(witnesses)
        if not seers:
            raise InputError("--witness", "the witness's key file, which came on another way", "none")
        with untrusted_shown():
            text, _ = carried(read_file(file, "a cosigned checkpoint", CARRIED_MOST_BYTES))
        with opened_store() as opened:
            by = acting(opened, who, "operate")
            with untrusted_shown():
                stand, names = take_back(from_environ().home, opened, by, text, seers)
    facts = {"size": stand.size, "witnesses": names}
    words = f"{stand.size} entries are cosigned by {', '.join(names)}"
    show(json.dumps(facts) if as_json else one_line(words))


def _witness(store: Store, logs: dict[str, list[Verifier]]) -> Witness:
    """Under the name and keys of this box's own log: `audit key` gives them to whoever shall believe it."""
    from akazuba.cli.store import now_s
    from akazuba.governance.audit_anchors import KEYS as KEYS_FILE
    from akazuba.governance.audit_anchors import origin
    from akazuba.governance.witness import Witness
    from akazuba.privacy.keys.store import KeyStore
    from akazuba.settings import from_environ

    home = from_environ().home
    with closing(KeyStore(home / KEYS_FILE, now_s)) as kept:
        identity = kept.identity()
    known = {name: [key.public for key in keys] for name, keys in logs.items() if name != origin(store)}
    return Witness(home / FILE, identity, origin(store), now_s, lambda name: known.get(name, []))


def _tell(seer: Witness, note: str, proof: Path | None) -> None:
    import msgspec

    from akazuba.cli.store import written

    caught = seer.misbehaviour(note.partition("\n")[0])
    if caught is None:
        return
    if proof is None:
        click.echo(
            "this log showed two histories: --proof FILE writes the proof, for the programme", err=True
        )
        return
    written(proof, msgspec.json.encode(caught) + b"\n")
    click.echo(f"this log showed two histories: the proof is {proof}", err=True)
