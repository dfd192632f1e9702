"""`akazuba audit …`: whether the log is whole, what stands in it, and proofs that somebody else can check."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from akazuba.cli.audit_keys import KEYS, WITNESSES, keys_of, untrusted_shown
from akazuba.cli.audit_witness import cosigned, witness
from akazuba.cli.shared import FAILED, errors_shown, file_lines, show
from akazuba.cli.store_patients import AS, JSON
from akazuba.errors import ArtefactError, InputError

if TYPE_CHECKING:
    from akazuba.governance.audit import Verdict
    from akazuba.governance.checkpoint import Verifier

PROOF_MOST_BYTES = 3_000_000
ANCHORS_MOST_BYTES = 1 << 30


@click.group()
def audit() -> None:
    """The audit log: verify it, read it, carry it away, prove one entry.

    Example: akazuba audit verify
    """


audit.add_command(witness)
audit.add_command(cosigned)


@audit.command()
@click.option("--anchors", type=click.Path(path_type=Path), help="Checkpoints kept elsewhere, one file.")
@KEYS
@WITNESSES
@JSON
def verify(anchors: Path | None, keys: tuple[Path, ...], witnesses: tuple[Path, ...], as_json: bool) -> None:
    """Hash every entry anew and hold the log against every checkpoint. Exit code 1 when anything is wrong.

    Example: akazuba audit verify --anchors /media/usb/checkpoints.txt --key /media/usb/log.key.json
    """
    from akazuba.cli.store import opened_store, read_file
    from akazuba.governance.audit import Problem, Verdict
    from akazuba.governance.audit_anchors import log_keys, notes_of, verify_kept
    from akazuba.settings import from_environ

    with errors_shown():
        known, seers = keys_of(keys), keys_of(witnesses)
        data = read_file(anchors, "checkpoints", ANCHORS_MOST_BYTES) if anchors else b""
        elsewhere = notes_of(data if data.endswith(b"\n\n") else data + b"\n")
        if anchors and not elsewhere:
            raise InputError(str(anchors), "checkpoints", "none")
        try:
            with opened_store(read_only=True) as opened:
                known = known or log_keys(opened)
                judged = verify_kept(from_environ().home, opened, known, seers, elsewhere)
        except ArtefactError as problem:
            judged = Verdict(0, b"", (Problem(str(problem)),), 0, ())
    show(json.dumps(_facts(judged, known)) if as_json else _words(judged, known, trusted=bool(keys)))
    if not judged.sound:
        sys.exit(FAILED)


@audit.command("show")
@click.argument("index", type=click.IntRange(0))
@click.option("--head", is_flag=True, help="Who, when and what only, as an auditor may see it.")
@click.option(
    "--heatmaps", type=click.Path(path_type=Path), help="Draw an assessment's overlays anew, in this folder."
)
@AS
@JSON
def show_entry(index: int, head: bool, heatmaps: Path | None, who: str | None, as_json: bool) -> None:
    """Show one entry, and of an assessment why: from what was stored then. The look is logged.

    Example: akazuba audit show 812 --as "Paul Mugisha" --heatmaps overlays
    """
    from akazuba.cli.audit_page import entry_facts, entry_page, redrawn
    from akazuba.cli.store import acting, now_ms, opened_store
    from akazuba.governance.audit_reads import record_reads

    with errors_shown(), opened_store() as opened:
        if index >= opened.size:
            raise InputError("index", f"an entry of the {opened.size}, counted from 0", str(index))
        found, stored = next(opened.heads(index))
        patient = "" if head else found[4]
        by = acting(opened, who, "see-patients" if patient else "read-log")
        entry = None if head else opened.entry(index)
        if patient and entry and entry.body is not None:
            record_reads(opened, [patient], by, "shown from the log", str(index), now_ms)
        kinds = ("case", "source") if patient else ()
        others = [other for kind in kinds for other in opened.entries(patient=patient, kind=kind)]
        text = (
            json.dumps(entry_facts(found, stored, entry))
            if as_json
            else entry_page(found, stored, entry, others)
        )
        drawn = redrawn(opened, entry, heatmaps) if entry and heatmaps else []
    show(text)
    for path in drawn:
        click.echo(f"heatmap: {path}", err=True)


@audit.command()
@click.argument("patient")
@AS
@JSON
def readers(patient: str, who: str | None, as_json: bool) -> None:
    """List who was shown what is kept of PATIENT, or was handed it, and why; an erased one's too.

    Example: akazuba audit readers p17
    """
    from dataclasses import asdict

    from akazuba.cli.store import acting, moment, opened_store
    from akazuba.governance.audit_reads import who_read
    from akazuba.report import one_line

    with errors_shown(), opened_store() as opened:
        acting(opened, who, "read-log")
        found = who_read(opened, patient)
    rows = [
        one_line(f"{r.index}  {moment(r.at_ms)}  {r.kind}  {r.by}: {r.why or 'erased with the patient'}")
        for r in found
    ]
    show(json.dumps([asdict(reading) for reading in found]) if as_json else "\n".join(rows) or "nobody")


@audit.command("export")
@click.option("--out", required=True, type=click.Path(path_type=Path))
@AS
@JSON
def export_log(out: Path, who: str | None, as_json: bool) -> None:
    """Write the log without what patients' entries hold: every head, every hash, every checkpoint.

    Patients stand in it by their ids. `akazuba audit check` verifies the file on any machine.

    Example: akazuba audit export --out /media/usb/log.ndjson --as "Aline Mutesi"
    """
    from akazuba.cli.store import acting, opened_store, written
    from akazuba.governance.audit_anchors import kept_notes
    from akazuba.governance.audit_proofs import exported
    from akazuba.settings import from_environ
    from akazuba.storage.store import Entry

    with errors_shown(), opened_store() as opened:
        by = acting(opened, who, "read-log")
        size = opened.size
        opened.add(Entry("log-export", by, json.dumps({"entries": size}).encode()))
        written(out, b"".join(exported(opened, kept_notes(from_environ().home))))
    facts = {"file": str(out), "entries": size + 1}
    show(json.dumps(facts) if as_json else f"{out}: {size + 1} entries")


@audit.command()
@click.argument("index", type=click.IntRange(0))
@click.option("--out", type=click.Path(path_type=Path), help="The file; without it, stdout.")
def prove(index: int, out: Path | None) -> None:
    """Make the proof that an entry is in the log, by the last checkpoint. It holds nothing that it says.

    Example: akazuba audit prove 812 --out entry-812.json
    """
    import msgspec

    from akazuba.cli.store import opened_store, written
    from akazuba.governance.audit_anchors import last_note
    from akazuba.governance.audit_proofs import prove as made

    with errors_shown(), opened_store(read_only=True) as opened:
        written(out, msgspec.json.encode(made(opened, index, last_note(opened))) + b"\n")


@audit.command()
@click.argument("proof", type=click.Path(path_type=Path))
@KEYS
@WITNESSES
@JSON
def check(proof: Path, keys: tuple[Path, ...], witnesses: tuple[Path, ...], as_json: bool) -> None:
    """Check a proof, or an exported log, by the log's public key alone: no store, no passphrase.

    Exit code 1 when it does not hold.

    Example: akazuba audit check entry-812.json --key log.key.json
    """
    from akazuba.cli.store import moment, read_file
    from akazuba.governance.audit_proofs import LINE_BYTES, check as proved, check_exported, is_exported_log
    from akazuba.report import one_line

    with errors_shown():
        known, seers = keys_of(keys), keys_of(witnesses)
        if not known:
            raise InputError("--key", "the log's key file, which came on another way", "none")
        with untrusted_shown(), file_lines(proof, LINE_BYTES, "a proof or an exported log") as lines:
            start = next(lines, b"")
            if is_exported_log(start):
                judged = check_exported(_with(start, lines), known, seers)
                show(json.dumps(_facts(judged, known)) if as_json else _words(judged, known, trusted=True))
                sys.exit(0 if judged.sound else FAILED)
            it = proved(read_file(proof, "a proof", PROOF_MOST_BYTES), known, seers)
    index, at_ms, kind, by, patient = it.head
    facts = {
        "index": index, "at_ms": at_ms, "kind": kind, "by": by, "patient": patient,
        "stored_sha256": it.stored.hex(), "log": it.origin, "size": it.size, "time_s": it.time_s,
        "witnesses": it.witnesses,
    }  # fmt: skip
    words = [
        f"entry {index} is in the log {it.origin}: {kind} by {by}, {moment(at_ms)}",
        f"patient: {patient or 'none'}; stored bytes SHA-256 {it.stored.hex()}",
        f"by a checkpoint of {it.size} entries, witnesses: {', '.join(it.witnesses) or 'none'}",
    ]
    show(json.dumps(facts) if as_json else "\n".join(map(one_line, words)))


@audit.command("checkpoint")
@click.option(
    "--since", type=click.IntRange(0), metavar="SIZE", help="With the proof for a witness who saw SIZE."
)
@click.option("--qr", is_flag=True, help="As lines for QR codes, which a witness without a network scans.")
@click.option("--out", type=click.Path(path_type=Path), help="The file; without it, stdout.")
@JSON
def take_checkpoint(since: int | None, qr: bool, out: Path | None, as_json: bool) -> None:
    """Sign how far the log stands, to be kept elsewhere or cosigned.

    Example: akazuba audit checkpoint --out /media/usb/checkpoint.txt
    """
    from akazuba.cli.store import opened_store, written
    from akazuba.governance.audit_anchors import last_note
    from akazuba.governance.checkpoint import read_checkpoint, read_note
    from akazuba.governance.witness import as_lines_for_qr
    from akazuba.merkle import consistency_proof

    with errors_shown(), opened_store() as opened:
        note = last_note(opened)
        stand = read_checkpoint(read_note(note).text)
        proof = consistency_proof(since, stand.size, opened.node) if since is not None else []
        if qr:
            text = "\n".join(as_lines_for_qr(note, proof)) + "\n"
        elif as_json:
            text = json.dumps({"note": note, "size": stand.size, "proof": [p.hex() for p in proof]}) + "\n"
        else:
            text = note + ("" if since is None else "".join(f"{p.hex()}\n" for p in proof))
        written(out, text.encode())


@audit.command("key")
@click.option("--out", type=click.Path(path_type=Path), help="The file; without it, stdout.")
def give_key(out: Path | None) -> None:
    """Write the log's public key, for everybody who is to check its proofs and checkpoints.

    Hand it over on another way than what it checks, or compare the fingerprint by telephone.

    Example: akazuba audit key --out log.key.json
    """
    from akazuba.cli.store import opened_store, written
    from akazuba.governance.audit_anchors import key_file, log_keys

    with errors_shown(), opened_store(read_only=True) as opened:
        keys = log_keys(opened)
        if not keys:
            raise InputError("key", "a log that has signed", "none: `akazuba audit checkpoint` signs")
        written(out, key_file(keys[-1]))
    click.echo(f"fingerprint {keys[-1].public.key_id}", err=True)


def _with(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _facts(judged: Verdict, keys: list[Verifier]) -> dict[str, object]:
    return {
        "sound": judged.sound,
        "entries": judged.size,
        "root": judged.root.hex(),
        "problems": [{"index": it.index, "what": it.what} for it in judged.problems],
        "more_problems": judged.more,
        "checkpoints": len(judged.anchors),
        "since_last_checkpoint": judged.unanchored,
        "since_last_witness": judged.unwitnessed,
        "witnesses": sorted({name for anchor in judged.anchors for name in anchor.witnesses}),
        "keys": [key.public.key_id for key in keys],
    }


def _words(judged: Verdict, keys: list[Verifier], *, trusted: bool) -> str:
    from akazuba.report import one_line

    lines = [f"{judged.size} entries, root {judged.root.hex()}"]
    seen = sorted({name for anchor in judged.anchors for name in anchor.witnesses})
    lines.append(
        f"{len(judged.anchors)} checkpoints hold; {judged.unanchored} entries since the last of them,"
        f" {judged.unwitnessed} since the last that a witness cosigned"
    )
    lines += [f"witness: {name}" for name in seen]
    source = "given to this command" if trusted else "named by the log itself: compare it with your own copy"
    lines += [f"key {key.public.key_id} of {key.name}, {source}" for key in keys]
    lines += [f"WRONG: {problem}" for problem in judged.problems]
    lines += [f"and {judged.more} more"] if judged.more else []
    lines.append("sound: nothing is altered, missing or out of order" if judged.sound else "NOT SOUND")
    return "\n".join(map(one_line, lines))
