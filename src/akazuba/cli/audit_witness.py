"""`akazuba audit witness` and `audit cosigned`: two boxes vouch for each other, by file, QR or network."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from akazuba.cli.audit_keys import KEYS, WITNESSES, keys_of, untrusted_shown
from akazuba.cli.shared import errors_shown, show
from akazuba.cli.store_patients import AS, JSON
from akazuba.errors import InputError, UntrustedError, why_not_opened

if TYPE_CHECKING:
    from akazuba.governance.cosigning_net import Post
    from akazuba.governance.witness import Witness

CARRIED_MOST_BYTES = 4_000_000
PATIENCE_S = 30.0

OUT = click.option("--out", type=click.Path(path_type=Path), help="The file; without it, stdout.")


@click.command()
@click.argument("checkpoint", required=False, type=click.Path(path_type=Path))
@click.option("--url", help="Have the box there cosign this box's log, over the network.")
@click.option("--ca", type=click.Path(path_type=Path), help="The CA whose certificate the box there shows.")
@WITNESSES
@KEYS
@click.option("--qr", is_flag=True, help="As lines for QR codes, which the other box scans.")
@click.option(
    "--proof", type=click.Path(path_type=Path), help="Where a proof goes that the log lied, if it did."
)
@AS
@OUT
def witness(
    checkpoint: Path | None,
    url: str | None,
    ca: Path | None,
    witnesses: tuple[Path, ...],
    keys: tuple[Path, ...],
    qr: bool,
    proof: Path | None,
    who: str | None,
    out: Path | None,
) -> None:
    """Cosign another box's CHECKPOINT: this box saw it, and it continues what this box saw before.

    With `--key FILE` alone, this box will cosign that log whenever it asks over the network. With `--url` it
    is this box that asks: it sends its last checkpoint with the proof, and keeps the cosignature of the
    `--witness`.

    CHECKPOINT: what `audit checkpoint --since SIZE` wrote there, plain, as JSON or as lines of QR codes. The
    log's key is needed the first time; it is remembered. Exit code 1 for a log that was rewritten.

    Example: akazuba audit witness checkpoint.txt --key other.key.json --out cosigned.txt

    Example: akazuba audit witness --url https://box-two:8443 --ca clinic-ca.pem --witness two.key.json
    """
    from akazuba.cli.store import acting, now_s, opened_store, read_file, written
    from akazuba.governance.cosigning import carried, learn_log, own_witness, witnessed
    from akazuba.governance.witness import as_lines_for_qr
    from akazuba.settings import from_environ

    with errors_shown():
        if url is not None:
            if checkpoint is not None or keys:
                raise InputError("--url", "no CHECKPOINT and no --key beside it", "one")
            _ask(url, ca, witnesses, who)
            return
        given = keys_of(keys)
        if checkpoint is None:
            if not given:
                raise InputError("audit witness", "a CHECKPOINT, a --key or a --url", "none")
            with opened_store() as opened:
                by = acting(opened, who, "operate")
                for key in given:
                    learn_log(opened, by, key)
            show("\n".join(f"this box cosigns the log {key.name} from now on" for key in given))
            return
        with untrusted_shown():
            note, path = carried(read_file(checkpoint, "a checkpoint", CARRIED_MOST_BYTES))
        with opened_store() as opened:
            by = acting(opened, who, "operate")
            for key in given:
                learn_log(opened, by, key)
            with closing(own_witness(from_environ().home, opened, now_s)) as seer, untrusted_shown():
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


def _ask(url: str, ca: Path | None, witnesses: tuple[Path, ...], who: str | None) -> None:
    from akazuba.cli.store import acting, opened_store
    from akazuba.governance.cosigning_net import ask_witness
    from akazuba.report import one_line
    from akazuba.settings import from_environ

    seers = keys_of(witnesses)
    if not seers:
        raise InputError("--witness", "the witness's key file, which came on another way", "none")
    post = posting(url, ca)
    with opened_store() as opened:
        by = acting(opened, who, "operate")
        with untrusted_shown():
            stand, names = ask_witness(from_environ().home, opened, by, seers, post)
    show(one_line(f"{stand.size} entries are cosigned by {', '.join(names)}"))


def posting(url: str, ca: Path | None) -> Post:
    """Sends to the witness of that address; no proxy, no redirect. Raises InputError for an unusable one."""
    import http.client
    import ssl
    from urllib.parse import urlsplit

    from akazuba.governance.cosigning_net import MAX_ANSWER_BYTES, ROUTE

    try:
        parts = urlsplit(url)
        host, port, scheme = parts.hostname, parts.port, parts.scheme
    except ValueError as problem:
        raise InputError("--url", "https://HOST:PORT", str(problem)) from problem
    if scheme not in ("http", "https") or not host or parts.query or parts.fragment or parts.username:
        raise InputError("--url", "https://HOST:PORT", repr(url[:80]))
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as problem:
        raise InputError(str(ca), "certificates of a CA (PEM)", why_not_opened(problem)) from problem
    path = parts.path.rstrip("/") + ROUTE

    def post(body: bytes) -> tuple[int, bytes]:
        connection = (
            http.client.HTTPSConnection(host, port, timeout=PATIENCE_S, context=context)
            if scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
        )
        with closing(connection):
            try:
                connection.request("POST", path, body, {"Content-Type": "text/plain; charset=utf-8"})
                answer = connection.getresponse()
                return answer.status, answer.read(MAX_ANSWER_BYTES + 1)
            except (OSError, http.client.HTTPException) as problem:
                why = why_not_opened(problem) or type(problem).__name__
                raise InputError(url, "an answer of the witness", why) from problem

    return post


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
