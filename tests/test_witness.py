"""Witnesses of a log, what they carry by QR codes, and two views of one log that convict it."""

# ruff: noqa: F401, F811 - the fixtures of checkpoint_bench are imported by name

import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import zlib
from base64 import b32encode
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from checkpoint_bench import (
    BOX,
    FORKED,
    HONEST,
    LOG,
    NEIGHBOUR,
    NEW_LINE,
    NOTE,
    NOW,
    ORIGIN,
    SERVER,
    SIGNATURES,
    STRANGER,
    TEXT,
    Clock,
    clock,
    logs,
    neighbour,
    witness,
)
from hypothesis import given, settings, strategies as st

from akazuba.errors import ArtefactError, InputError, UntrustedError
from akazuba.governance.checkpoint import (
    MAX_NOTE_BYTES,
    Verifier,
    opened,
    signature_lines,
    signed,
)
from akazuba.governance.witness import (
    QR_CHARACTERS,
    Misbehaviour,
    Witness,
    as_lines_for_qr,
    cosignatures,
    cosigned,
    from_qr_lines,
    split_view,
)
from akazuba.merkle import EMPTY_ROOT, prefix_proof


def test_a_witness_cosigns_a_log_that_grows(witness: Witness, clock: Clock) -> None:
    size = 0
    for new in (5, 8, 8, 11, 40):
        assert witness.size(ORIGIN) == size
        clock.time += 60
        note = HONEST.note(new, f"time {clock.time}")
        note += witness.cosign(note, HONEST.proof(size, new))
        assert cosigned(note, LOG, [witness.verifier], 1) == HONEST.checkpoint(new, f"time {clock.time}")
        assert cosignatures(note, [witness.verifier]) == {"server.akazuba.example": clock.time}
        size = new


def test_the_same_note_gets_the_same_lines(witness: Witness, clock: Clock) -> None:
    lines = witness.cosign(NOTE)
    clock.time += 60
    assert witness.cosign(NOTE) == lines
    assert witness.cosign(NOTE + lines) == lines
    assert witness.cosign(NOTE.encode(), [EMPTY_ROOT]) == lines


def test_a_witness_remembers_after_a_restart(witness: Witness, tmp_path: Path, clock: Clock) -> None:
    lines = witness.cosign(NOTE)
    witness.close()
    again = Witness(tmp_path / "witness.db", SERVER, witness.verifier.name, clock, logs)
    assert again.size(ORIGIN) == 11
    assert again.cosign(NOTE) == lines
    with pytest.raises(UntrustedError, match="a size of 11 or more"):
        again.cosign(HONEST.note(5))
    again.close()
    assert stat.S_IMODE((tmp_path / "witness.db").stat().st_mode) == 0o600


CRASH = """
import os, signal, sys
from pathlib import Path
from akazuba.governance.witness import Witness
from akazuba.privacy.keys.identity import Identity, PublicIdentity
seeds, log = Identity(*map(bytes.fromhex, sys.argv[2:4])), PublicIdentity(*map(bytes.fromhex, sys.argv[4:6]))
witness = Witness(Path(sys.argv[1]), seeds, "server", lambda: 1_790_000_000, lambda _: [log])
os.write(1, witness.cosign(sys.stdin.buffer.read()).encode())
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_cosigned_is_on_the_disk_before_the_lines_are_given(tmp_path: Path, clock: Clock) -> None:
    """The process dies as soon as it has said them."""
    keys = [SERVER.ed25519_seed, SERVER.mldsa65_seed, BOX.public.ed25519, BOX.public.mldsa65]
    command = [sys.executable, "-c", CRASH, str(tmp_path / "witness.db"), *(key.hex() for key in keys)]
    died = subprocess.run(command, input=NOTE.encode(), capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL
    again = Witness(tmp_path / "witness.db", SERVER, "server", clock, logs)
    assert again.cosign(NOTE) == died.stdout.decode()
    assert cosigned(NOTE + died.stdout.decode(), LOG, [again.verifier], 1).size == 11
    again.close()


def test_a_smaller_log_is_refused(witness: Witness) -> None:
    witness.cosign(NOTE)
    with pytest.raises(UntrustedError, match="expected a size of 11 or more, found 10"):
        witness.cosign(HONEST.note(10))
    assert witness.misbehaviour(ORIGIN) is None


def test_a_fork_of_the_same_size_is_refused_and_kept(witness: Witness, tmp_path: Path) -> None:
    witness.cosign(NOTE)
    for _ in range(2):
        with pytest.raises(UntrustedError, match="root"):
            witness.cosign(FORKED.note(11))
    caught = witness.misbehaviour(ORIGIN)
    assert caught is not None
    assert split_view(caught.first, caught.second, LOG, caught.proof) == caught
    witness.cosign(HONEST.note(20), HONEST.proof(11, 20))


def test_a_fork_that_grew_is_refused_and_kept_where_its_proof_shows_it(witness: Witness) -> None:
    witness.cosign(NOTE)
    with pytest.raises(UntrustedError, match="old root"):
        witness.cosign(FORKED.note(20), FORKED.proof(11, 20))
    caught = witness.misbehaviour(ORIGIN)
    assert caught is not None
    assert split_view(caught.first, caught.second, LOG, caught.proof) == caught
    assert witness.size(ORIGIN) == 11


@pytest.mark.parametrize("proof", [[], [EMPTY_ROOT], [b"short"], HONEST.proof(8, 20), HONEST.proof(11, 21)])
def test_a_proof_that_fits_nothing_is_refused_and_accuses_nobody(
    witness: Witness, proof: list[bytes]
) -> None:
    witness.cosign(NOTE)
    with pytest.raises(UntrustedError, match="consistency from size 11 to 20"):
        witness.cosign(HONEST.note(20), proof)
    assert witness.misbehaviour(ORIGIN) is None


def test_a_log_with_a_new_key_goes_on_where_it_stood(tmp_path: Path, clock: Clock) -> None:
    """What the old key signed is no proof against the new one."""
    believed = [BOX.public]
    witness = Witness(tmp_path / "witness.db", SERVER, "server", clock, lambda _: believed)
    witness.cosign(NOTE)
    believed[:] = [STRANGER.public]
    with pytest.raises(UntrustedError, match="root"):
        witness.cosign(signed(FORKED.checkpoint(11), STRANGER, ORIGIN))
    assert witness.misbehaviour(ORIGIN) is None
    witness.cosign(signed(HONEST.checkpoint(20), STRANGER, ORIGIN), HONEST.proof(11, 20))
    assert witness.size(ORIGIN) == 20
    witness.close()


def test_an_unknown_log_is_refused(witness: Witness) -> None:
    checkpoint = replace(HONEST.checkpoint(11), origin="box-9.akazuba.example")
    with pytest.raises(UntrustedError, match="a log that this witness knows"):
        witness.cosign(signed(checkpoint, STRANGER, checkpoint.origin))


def test_a_strangers_signature_is_refused(witness: Witness) -> None:
    with pytest.raises(UntrustedError, match="none of theirs"):
        witness.cosign(signed(HONEST.checkpoint(11), STRANGER, ORIGIN))
    with pytest.raises(UntrustedError, match="Ed25519"):
        witness.cosign(f"{TEXT}\n{NEW_LINE}")
    with pytest.raises(UntrustedError, match="does not verify"):
        witness.cosign(f"{FORKED.checkpoint(11).text}\n{SIGNATURES}")
    assert witness.size(ORIGIN) == 0


def test_a_clock_that_went_back_is_refused(witness: Witness, clock: Clock) -> None:
    witness.cosign(NOTE)
    clock.time -= 400 * 86_400
    with pytest.raises(UntrustedError, match="clock of the witness"):
        witness.cosign(HONEST.note(20), HONEST.proof(11, 20))
    assert witness.size(ORIGIN) == 11
    clock.time = 2**63
    with pytest.raises(UntrustedError, match="clock of the witness"):
        witness.cosign(HONEST.note(20), HONEST.proof(11, 20))


def test_of_many_at_once_none_makes_a_witness_forget(tmp_path: Path, clock: Clock) -> None:
    """Two processes that are asked for forks of each other at the same time: one gets its lines."""
    given, refused = list[str](), list[str]()

    def ask(note: str) -> None:
        own = Witness(tmp_path / "shared.db", SERVER, "server", clock, logs)
        try:
            given.append(own.cosign(note))
        except UntrustedError as problem:
            refused.append(str(problem))
        finally:
            own.close()

    Witness(tmp_path / "shared.db", SERVER, "server", clock, logs).close()
    threads = [threading.Thread(target=ask, args=(log.note(11),)) for log in (HONEST, FORKED)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(given), len(refused)) == (1, 1)


def test_a_file_that_is_none_or_was_altered_is_named(witness: Witness, tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "none.db").write_bytes(b"no database at all, but long enough to be looked at" * 20)
    with pytest.raises(ArtefactError, match=r"none\.db"):
        Witness(tmp_path / "none.db", SERVER, "server", clock, logs)
    witness.cosign(NOTE)
    with sqlite3.connect(tmp_path / "witness.db") as file:
        file.execute("UPDATE seen SET note = 'altered'")
    file.close()
    with pytest.raises(ArtefactError, match="cosigned last"):
        witness.cosign(HONEST.note(20), HONEST.proof(11, 20))


def test_a_disk_that_takes_nothing_is_named(witness: Witness, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "witness.db") as file:
        file.execute("DROP TABLE seen")
        file.execute("CREATE VIEW seen AS SELECT '' AS origin, '' AS note, '' AS given, 0 AS time WHERE 0")
    file.close()
    with pytest.raises(ArtefactError, match="can be written"):
        witness.cosign(NOTE)


def test_as_many_witnesses_as_needed_must_agree(witness: Witness, neighbour: Witness) -> None:
    trusted = [witness.verifier, neighbour.verifier]
    one = NOTE + witness.cosign(NOTE)
    assert cosigned(one, LOG, trusted, 1) == opened(NOTE, LOG)[0]
    with pytest.raises(UntrustedError, match=r"of 2 witnesses, found 1 \(server"):
        cosigned(one + witness.cosign(NOTE), LOG, trusted, 2)
    assert cosigned(one + neighbour.cosign(one), LOG, trusted, 2).size == 11
    with pytest.raises(UntrustedError, match="found 0"):
        cosigned(NOTE, LOG, trusted, 1)


def test_a_witness_counts_only_with_both_signatures_of_one_time(witness: Witness, clock: Clock) -> None:
    first = witness.cosign(NOTE).splitlines(keepends=True)
    later = signature_lines(TEXT, SERVER, witness.verifier.name, NOW + 1).splitlines(keepends=True)
    for lines in (first[:1], first[1:], [first[0], later[1]]):
        with pytest.raises(UntrustedError, match="found 0"):
            cosigned(NOTE + "".join(lines), LOG, [witness.verifier], 1)
    assert cosignatures(NOTE + "".join(first + later), [witness.verifier]) == {witness.verifier.name: NOW + 1}


def test_a_witness_that_exchanges_its_key_counts_once(witness: Witness, clock: Clock) -> None:
    name, new = witness.verifier.name, Verifier(witness.verifier.name, NEIGHBOUR.public)
    old_lines, new_lines = witness.cosign(NOTE), signature_lines(TEXT, NEIGHBOUR, name, NOW + 1)
    for trusted in ([witness.verifier, new], [new, witness.verifier]):
        assert cosigned(NOTE + old_lines, LOG, trusted, 1).size == 11
        assert cosignatures(NOTE + old_lines + new_lines, trusted) == {name: NOW + 1}
        with pytest.raises(InputError, match="from 1 to 1"):
            cosigned(NOTE + old_lines + new_lines, LOG, trusted, 2)


def test_a_strangers_cosignature_does_not_count_and_a_false_one_condemns(witness: Witness) -> None:
    stranger = signature_lines(TEXT, STRANGER, witness.verifier.name, NOW)
    with pytest.raises(UntrustedError, match="found 0"):
        cosigned(NOTE + stranger, LOG, [witness.verifier], 1)
    false = signature_lines(HONEST.checkpoint(12).text, SERVER, witness.verifier.name, NOW)
    with pytest.raises(UntrustedError, match="does not verify"):
        cosigned(NOTE + false, LOG, [witness.verifier], 1)


def test_demands_that_make_no_sense_are_refused(witness: Witness) -> None:
    note = NOTE + witness.cosign(NOTE)
    for needed in (0, -1, 2):
        with pytest.raises(InputError, match="from 1 to 1"):
            cosigned(note, LOG, [witness.verifier], needed)
    with pytest.raises(InputError, match="twice"):
        cosigned(note, LOG, [witness.verifier, Verifier("again", SERVER.public)], 2)
    with pytest.raises(InputError, match="other keys than the log's"):
        cosigned(note, LOG, [Verifier("myself", BOX.public)], 1)


# Two views of one log.


def test_two_roots_of_one_size_convict_the_log() -> None:
    caught = split_view(NOTE, FORKED.note(11), LOG)
    assert caught is not None
    again = msgspec.json.decode(msgspec.json.encode(caught), type=Misbehaviour)
    assert split_view(again.first, again.second, LOG, again.proof) == caught


@pytest.mark.parametrize("old", [4, 8, 11, 16, 19])
def test_two_histories_convict_the_log_whatever_the_sizes(old: int) -> None:
    proof = prefix_proof(old, 20, FORKED.node)
    first, second = HONEST.note(old), FORKED.note(20)
    caught = split_view(second, first, LOG, proof)
    assert caught == Misbehaviour(first, second, tuple(proof))
    assert split_view(caught.first, caught.second, LOG, caught.proof) == caught


@pytest.mark.parametrize("proof", [[], [b"short"], [EMPTY_ROOT] * 5, FORKED.proof(11, 20)])
def test_an_honest_log_is_not_convicted(proof: list[bytes]) -> None:
    assert split_view(NOTE, HONEST.note(11), LOG, proof) is None
    assert split_view(NOTE, HONEST.note(20), LOG, proof) is None
    assert split_view(NOTE, HONEST.note(20), LOG, prefix_proof(11, 20, HONEST.node)) is None
    assert split_view(NOTE, HONEST.note(0), LOG, proof) is None


def test_nobody_is_convicted_by_what_he_did_not_sign() -> None:
    forged = signed(FORKED.checkpoint(11), STRANGER, ORIGIN)
    with pytest.raises(UntrustedError, match="none of theirs"):
        split_view(NOTE, forged, LOG)
    other = replace(HONEST.checkpoint(11), origin="box-8.akazuba.example")
    keys = [*LOG, Verifier(other.origin, STRANGER.public)]
    with pytest.raises(UntrustedError, match="two checkpoints"):
        split_view(NOTE, signed(other, STRANGER, other.origin), keys)


# Parts for QR codes.

ALPHANUMERIC = set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")
PROOF = HONEST.proof(11, 40)
PARTS = as_lines_for_qr(NOTE, PROOF)


def test_a_note_travels_by_qr_codes_in_any_order_and_more_than_once() -> None:
    assert 2 <= len(PARTS) <= 6
    assert all(len(line) <= QR_CHARACTERS and set(line) <= ALPHANUMERIC for line in PARTS)
    assert from_qr_lines([*reversed(PARTS), PARTS[0], f" {PARTS[1]}\r\n"]) == (NOTE, PROOF)


def test_a_cosignature_travels_back_by_qr_codes(witness: Witness) -> None:
    lines = witness.cosign(*from_qr_lines(PARTS)[:1])
    assert from_qr_lines(as_lines_for_qr(lines)) == (lines, [])


@given(st.text(max_size=2_000), st.lists(st.binary(min_size=32, max_size=32), max_size=64), st.randoms())
@settings(max_examples=50, deadline=None)
def test_whatever_travels_by_qr_codes_comes_back(text: str, proof: list[bytes], random) -> None:
    parts = as_lines_for_qr(text, proof, characters=120)
    random.shuffle(parts)
    assert from_qr_lines(parts) == (text, proof)


def test_missing_and_bent_parts_are_named() -> None:
    with pytest.raises(UntrustedError, match="part 2 missing"):
        from_qr_lines([PARTS[0], *PARTS[2:]])
    bent = PARTS[1][:100] + ("A" if PARTS[1][100] != "A" else "B") + PARTS[1][101:]
    with pytest.raises(UntrustedError, match="part 2 missing; part 2 bent"):
        from_qr_lines([PARTS[0], bent, *PARTS[2:]])
    with pytest.raises(UntrustedError, match="part 2 missing; line 1 bent"):
        from_qr_lines(["https://example.com", PARTS[0], *PARTS[2:]])
    assert from_qr_lines([bent, *PARTS]) == (NOTE, PROOF)
    for nothing in ([], [""], ["AKAZUBA1:1:1"]):
        with pytest.raises(UntrustedError, match="QR codes"):
            from_qr_lines(nothing)


def test_parts_of_two_texts_are_not_mixed() -> None:
    with pytest.raises(UntrustedError, match="parts of 2"):
        from_qr_lines([PARTS[0], *as_lines_for_qr(HONEST.note(20))[1:]])


@given(
    st.integers(0, len(PARTS) - 1), st.integers(0, QR_CHARACTERS - 1), st.sampled_from(sorted(ALPHANUMERIC))
)
def test_no_character_of_a_part_can_be_changed(part: int, place: int, letter: str) -> None:
    line = PARTS[part]
    place %= len(line)
    changed = line[:place] + letter + line[place + 1 :]
    if changed.strip() != line:
        with pytest.raises(UntrustedError):
            from_qr_lines([*PARTS[:part], changed, *PARTS[part + 1 :]])


def forged_lines(packed: bytes, whole: str | None = None, number: str = "1", parts: str = "1") -> list[str]:
    data = b32encode(packed).decode().rstrip("=")
    whole = whole or sha256(packed).hexdigest()[:16].upper()
    line = f"AKAZUBA1:{number}:{parts}:{whole}:{data}"
    return [f"{line}:{sha256(line.encode()).hexdigest()[:8].upper()}"]


@pytest.mark.parametrize(
    "lines",
    [
        forged_lines(b"no zlib"),
        forged_lines(zlib.compress(b"no msgpack \xc1")),
        forged_lines(zlib.compress(msgspec.msgpack.encode(["text", [b"short"]]))),
        forged_lines(zlib.compress(msgspec.msgpack.encode(["text", [bytes(32)] * 65]))),
        forged_lines(zlib.compress(msgspec.msgpack.encode({"text": "text"}))),
        forged_lines(zlib.compress(msgspec.msgpack.encode(["text", []])) + b"more"),
        forged_lines(zlib.compress(msgspec.msgpack.encode(["text", []]))[:-1]),
        forged_lines(zlib.compress(bytes(2 * MAX_NOTE_BYTES))),
        forged_lines(zlib.compress(msgspec.msgpack.encode(["text", []])), whole="0" * 16),
        forged_lines(zlib.compress(msgspec.msgpack.encode(["text", []])), number="2"),
        forged_lines(zlib.compress(msgspec.msgpack.encode(["text", []])), number="0"),
        forged_lines(zlib.compress(msgspec.msgpack.encode(["text", []])), number="0", parts="0"),
    ],
)
def test_codes_that_somebody_made_up_are_refused(lines: list[str]) -> None:
    with pytest.raises(UntrustedError, match="QR codes"):
        from_qr_lines(lines)


def test_what_does_not_fit_into_codes_is_refused() -> None:
    with pytest.raises(InputError, match="QR codes"):
        as_lines_for_qr(NOTE, PROOF, characters=48)
    with pytest.raises(InputError, match="QR codes"):
        as_lines_for_qr(NOTE, PROOF, characters=0)
