"""Checkpoints, witnesses and what they carry: what is believed, and every way in which it is not."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import zlib
from base64 import b32encode, b64decode, b64encode
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from akazuba.errors import ArtefactError, InputError, UntrustedError
from akazuba.governance.checkpoint import (
    ED25519,
    LOG_TYPES,
    MAX_NOTE_BYTES,
    WITNESS_TYPES,
    Checkpoint,
    Key,
    Verifier,
    opened,
    read_checkpoint,
    read_note,
    signature_lines,
    signed,
    verified,
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
from akazuba.merkle import EMPTY_ROOT, Frontier, consistency_proof, leaf_hash, prefix_proof
from akazuba.privacy.keys.identity import Identity, PublicIdentity, new_identity

NOW = 1_790_000_000
ORIGIN = "box-7.akazuba.example"
BOX, SERVER, NEIGHBOUR, STRANGER = (new_identity(os.urandom) for _ in range(4))
LOG = [Verifier(ORIGIN, BOX.public)]


class Log:
    """A log in memory. rewritten: from this entry on it tells another story."""

    def __init__(self, entries: int, rewritten: int | None = None) -> None:
        log, self.nodes, self.states = Frontier(), dict[tuple[int, int], bytes](), [Frontier()]
        for index in range(entries):
            told = b"other" if rewritten is not None and index >= rewritten else b"entry"
            log, made = log.appended(leaf_hash(told + b" %d" % index))
            self.nodes |= {(level, place): hash_ for level, place, hash_ in made}
            self.states.append(log)

    def node(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]

    def checkpoint(self, size: int, *extensions: str) -> Checkpoint:
        return Checkpoint(ORIGIN, size, self.states[size].root(), extensions)

    def note(self, size: int, *extensions: str) -> str:
        return signed(self.checkpoint(size, *extensions), BOX, ORIGIN)

    def proof(self, old: int, new: int) -> list[bytes]:
        return consistency_proof(old, new, self.node)


HONEST, FORKED = Log(40), Log(40, rewritten=3)
NOTE = HONEST.note(11, f"time {NOW}", "counter 12")
TEXT, SIGNATURES = read_note(NOTE).text, NOTE.rpartition("\n\n")[2]
OLD_LINE, NEW_LINE = SIGNATURES.splitlines(keepends=True)


# Notes: the form, and the vectors of Go's sumdb/note (note_test.go) and of C2SP.

GO_TEXT = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZ"
    "SNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGr"
    "Q5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
PETER_SECRET = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"  # noqa: S105 - published
QUASIMODO = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
    "— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj9"
    "9ihAQwaqP3ZekRwNtIc=\n"
)
# A checkpoint of a public Certificate Transparency log with the cosignatures of public witnesses.
PUBLIC = """arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
"""  # noqa: E501
PUBLIC_LOG = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
PUBLIC_WITNESSES = [
    "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
    "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
]


def key(vkey: str) -> Key:
    """C2SP's verifier key: name+id+base64(type ‖ public key)."""
    name, id_, rest = vkey.split("+", 2)
    data = b64decode(rest)
    made = Key(name, data[:1], data[1:])
    assert made.id.hex() == id_
    return made


PETER = key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
ENOCH = key("EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop")


def test_the_notes_of_go_verify_and_are_signed_as_go_signs_them() -> None:
    note = read_note(f"{GO_TEXT}\n{PETER_LINE}{ENOCH_LINE}")
    assert verified(note, [PETER]) == [(PETER, 0)]
    assert verified(note, [PETER, ENOCH, PETER]) == [(PETER, 0), (ENOCH, 0)]
    assert verified(note, []) == []
    peter = Identity(b64decode(PETER_SECRET)[1:], bytes(32))
    assert peter.public.ed25519 == PETER.public
    assert signature_lines(GO_TEXT, peter, "PeterNeumann").startswith(PETER_LINE)


def test_the_example_note_of_c2sp_verifies() -> None:
    foo = key("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    line = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
    note = f"This is an example message.\n\n— example.com/foo {line}\n"
    assert verified(read_note(note.encode()), [foo]) == [(foo, 0)]


def test_a_text_with_empty_lines_ends_at_the_last_one() -> None:
    """C2SP gives no key for this one."""
    note = read_note(QUASIMODO)
    assert note.text.endswith("di sole:\n\ned è subito sera.\n")
    assert [(name, id_.hex()) for name, id_, _ in note.signatures] == [
        ("quasimodo.example/salvatore", "367ba04b")
    ]


def test_a_public_logs_checkpoint_and_its_public_witnesses_verify() -> None:
    note, log = read_note(PUBLIC), key(PUBLIC_LOG)
    witnesses = [key(vkey) for vkey in PUBLIC_WITNESSES]
    assert verified(note, [log]) == [(log, 0)]
    assert verified(note, witnesses) == [(witness, 0x6A122120) for witness in witnesses]
    assert read_checkpoint(note.text).size == 1_432_088_532
    for known in [log, *witnesses]:
        with pytest.raises(UntrustedError, match="does not verify"):
            verified(replace(note, text=note.text.replace("1432088532", "1432088533")), [known])


@pytest.mark.parametrize(
    "note",
    [
        GO_TEXT,
        f"{GO_TEXT}\n",
        f"{GO_TEXT}\n{PETER_LINE[:-1]}",
        f"\x01{GO_TEXT}\n{PETER_LINE}",
        f"{GO_TEXT}\t\n\n{PETER_LINE}",
        f"{GO_TEXT}\r\n\n{PETER_LINE}",
        b"\xff" + f"{GO_TEXT}\n{PETER_LINE}".encode(),
        f"\udce9{GO_TEXT}\n{PETER_LINE}",
        f"{GO_TEXT}\n{PETER_LINE.replace('PeterNeumann', 'Bad Name')}",
        f"{GO_TEXT}\n{PETER_LINE.replace('PeterNeumann', 'Bad+Name')}",
        f"{GO_TEXT}\n{PETER_LINE}".replace("PeterNeumann", "Bad\u2003Name"),
        f"{GO_TEXT}\n{PETER_LINE.replace('PeterNeumann ', ' ')}",
        f"{GO_TEXT}\n{PETER_LINE}Unexpected line.\n",
        f"{GO_TEXT}\n{PETER_LINE.replace('—', '-')}",
        f"{GO_TEXT}\n{PETER_LINE}\n",
        f"{GO_TEXT}\n{PETER_LINE.replace('=', '')}",
        f"{GO_TEXT}\n{PETER_LINE.replace('AM=', 'AN=')}",
        f"{GO_TEXT}\n{PETER_LINE.replace('=', ' =')}",
        f"{GO_TEXT}\n{PETER_LINE.replace('/', '_')}",
        f"{GO_TEXT}\n— PeterNeumann AAAA\n",
        f"{GO_TEXT}\n— PeterNeumann x08goA==\n",
        f"{GO_TEXT}\n" + PETER_LINE * 101,
        "x" * MAX_NOTE_BYTES + f"\n\n{PETER_LINE}",
        "",
        "\n",
        "\n\n",
    ],
)
def test_a_malformed_note_is_refused(note: str | bytes) -> None:
    with pytest.raises(UntrustedError):
        read_note(note)


def test_a_hundred_signatures_are_read() -> None:
    assert len(verified(read_note(f"{GO_TEXT}\n{PETER_LINE * 100}"), [PETER])) == 100


def test_a_key_that_shares_only_its_name_or_only_its_id_is_another_one() -> None:
    signature = b64decode(PETER_LINE.split()[2])
    renamed = PETER_LINE.replace("PeterNeumann", "Peter")
    other_id = f"— PeterNeumann {b64encode(b'abcd' + signature[4:]).decode()}\n"
    assert verified(read_note(f"{GO_TEXT}\n{renamed}{other_id}"), [PETER]) == []


def test_two_keys_of_one_name_and_id_are_refused() -> None:
    class Twin(Key):
        @property
        def id(self) -> bytes:
            return PETER.id

    with pytest.raises(InputError, match="two for PeterNeumann"):
        verified(read_note(f"{GO_TEXT}\n{PETER_LINE}"), [PETER, Twin("PeterNeumann", ED25519, ENOCH.public)])


# Checkpoints.


def test_a_checkpoint_is_opened_as_it_was_signed() -> None:
    checkpoint, names = opened(NOTE, LOG)
    assert checkpoint == HONEST.checkpoint(11, f"time {NOW}", "counter 12")
    assert names == (ORIGIN,)
    assert checkpoint.stated("time") == NOW
    assert checkpoint.stated("counter") == 12
    assert checkpoint.stated("place") is None
    assert replace(checkpoint, extensions=("counter 1", "counter 2")).stated("counter") is None
    assert replace(checkpoint, extensions=("counter 01",)).stated("counter") is None
    assert opened(NOTE.encode(), LOG) == (checkpoint, names)


@given(
    st.text(
        st.characters(exclude_categories=["Cs", "Z"], exclude_characters="+", min_codepoint=32),
        min_size=1,
        max_size=40,
    ).filter(lambda name: not any(letter.isspace() for letter in name)),
    st.integers(1, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
    st.lists(
        st.text(
            st.characters(exclude_categories=["Cs"], min_codepoint=32),
            min_size=1,
            max_size=20,
        ),
        max_size=3,
    ),
)
@settings(max_examples=30, deadline=None)
def test_whatever_a_checkpoint_can_say_comes_back(
    origin: str, size: int, root: bytes, extensions: list[str]
) -> None:
    checkpoint = Checkpoint(origin, size, root, tuple(extensions))
    note = signed(checkpoint, BOX, origin)
    assert opened(note, [Verifier(origin, BOX.public)]) == (checkpoint, (origin,))


@given(st.integers(0, 10**6), st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_no_byte_of_a_note_can_be_changed(place: int, change: int) -> None:
    data = bytearray(NOTE.encode())
    data[place % len(data)] ^= change
    with pytest.raises(UntrustedError):
        opened(bytes(data), LOG)


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_whatever_comes_in_is_refused_in_words(data: bytes | str) -> None:
    with pytest.raises(UntrustedError):
        opened(data, LOG)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "log\n5\n",
        f"log\n5\n{'A' * 43}=",
        f"\n5\n{'A' * 43}=\n",
        f"log\n5\n{'A' * 43}=\n\n",
        f"log\n5\n{'A' * 43}=\ntime 1\n\nmore\n",
        f"log\n05\n{'A' * 43}=\n",
        f"log\n00\n{'A' * 43}=\n",
        f"log\n-5\n{'A' * 43}=\n",
        f"log\n+5\n{'A' * 43}=\n",
        f"log\n 5\n{'A' * 43}=\n",
        f"log\n5.0\n{'A' * 43}=\n",
        f"log\n٥\n{'A' * 43}=\n",
        f"log\nfive\n{'A' * 43}=\n",
        f"log\n{2**63}\n{'A' * 43}=\n",
        f"log\n{'9' * 5000}\n{'A' * 43}=\n",
        f"log\n5\n{'A' * 43}\n",
        f"log\n5\n{'A' * 42}B=\n",
        f"log\n5\n{'A' * 42}\n",
        f"log\n5\n{'A' * 44}\n",
        f"log\n5\n{'é' * 43}=\n",
        f"log\n5\n{'_' * 43}=\n",
        f"log\n0\n{'A' * 43}=\n",
    ],
)
def test_a_malformed_checkpoint_is_refused_though_it_is_signed(text: str) -> None:
    with pytest.raises(UntrustedError, match="checkpoint"):
        read_checkpoint(text)
    note = f"{text or 'log'}\n{signature_lines(text, BOX, 'log')}"
    with pytest.raises(UntrustedError):
        opened(note, [Verifier("log", BOX.public)])


@pytest.mark.parametrize(
    "change",
    [
        {"origin": ""},
        {"origin": "two\nlines"},
        {"origin": "tab\t"},
        {"origin": "\udce9"},
        {"size": -1},
        {"size": 2**63},
        {"size": 0},
        {"root": b"short"},
        {"extensions": ("",)},
        {"extensions": ("two\nlines",)},
        {"extensions": ("bell \a",)},
    ],
)
def test_what_no_checkpoint_can_say_is_not_signed(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"checkpoint|note"):
        signed(replace(HONEST.checkpoint(11), **change), BOX, ORIGIN)


@pytest.mark.parametrize(
    "name", ["", "with space", "with+plus", "no\u00a0break", "line\n", "bell\a", "\udce9"]
)
def test_a_name_that_no_note_can_hold_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="name of a key"):
        signed(HONEST.checkpoint(11), BOX, name)


def test_an_empty_log_has_a_checkpoint() -> None:
    assert opened(HONEST.note(0), LOG)[0].root == EMPTY_ROOT


@pytest.mark.parametrize(("line", "missing"), [(OLD_LINE, "ML-DSA-65"), (NEW_LINE, "Ed25519")])
def test_one_of_the_two_signatures_is_not_enough(line: str, missing: str) -> None:
    with pytest.raises(UntrustedError, match=f"none with {missing}"):
        opened(f"{TEXT}\n{line}", LOG)


def test_signatures_of_others_are_ignored_but_not_taken_for_the_logs() -> None:
    strangers = signature_lines(TEXT, STRANGER, ORIGIN)
    assert opened(f"{TEXT}\n{strangers}{SIGNATURES}{PETER_LINE}", LOG)[1] == (ORIGIN,)
    for lines in (strangers, PETER_LINE):
        with pytest.raises(UntrustedError, match="none of theirs"):
            opened(f"{TEXT}\n{lines}", LOG)
    with pytest.raises(UntrustedError, match="a known log"):
        opened(NOTE, [])


def test_a_signature_that_does_not_hold_condemns_the_note_whoever_else_signed() -> None:
    wrong = signature_lines(HONEST.checkpoint(12).text, BOX, ORIGIN)
    for line in wrong.splitlines(keepends=True):
        with pytest.raises(UntrustedError, match="does not verify"):
            opened(f"{TEXT}\n{SIGNATURES}{line}", LOG)


def test_a_log_cannot_sign_another_logs_checkpoint() -> None:
    other = Verifier("box-8.akazuba.example", STRANGER.public)
    note = signed(HONEST.checkpoint(11), STRANGER, other.name)
    with pytest.raises(UntrustedError, match=f"signatures of {ORIGIN}"):
        opened(note, [*LOG, other])
    both = note + signature_lines(read_note(note).text, BOX, ORIGIN)
    assert opened(both, [*LOG, other])[1] == (ORIGIN, other.name)


def test_a_log_that_exchanges_its_key_is_believed_under_both() -> None:
    keys = [*LOG, Verifier(ORIGIN, STRANGER.public)]
    note = signed(HONEST.checkpoint(11), STRANGER, ORIGIN)
    assert opened(note, keys)[1] == (ORIGIN,)
    assert opened(note + signature_lines(read_note(note).text, BOX, ORIGIN), keys)[1] == (ORIGIN, ORIGIN)


def test_a_key_that_is_none_is_refused() -> None:
    public = PublicIdentity(b"short", BOX.public.mldsa65)
    short = Verifier(ORIGIN, public).keys(LOG_TYPES)[0]
    line = f"— {ORIGIN} {b64encode(short.id + bytes(64)).decode()}\n"
    with pytest.raises(UntrustedError, match="does not verify"):
        opened(f"{TEXT}\n{line}", [Verifier(ORIGIN, public)])


def test_a_signature_of_one_type_is_none_of_another() -> None:
    """Key ids alone must not keep them apart."""
    (old, new), (old_timed, new_timed) = (LOG[0].keys(types) for types in (LOG_TYPES, WITNESS_TYPES))
    plain = [signature for _, _, signature in read_note(NOTE).signatures]
    lines = read_note(f"{TEXT}\n{signature_lines(TEXT, BOX, ORIGIN, NOW)}")
    timed = [signature for _, _, signature in lines.signatures]
    assert [old.verify(TEXT, plain[0]), new.verify(TEXT, plain[1])] == [0, 0]
    assert [old_timed.verify(TEXT, timed[0]), new_timed.verify(TEXT, timed[1])] == [NOW, NOW]
    for wrong, signature in ((old, timed[0]), (new, timed[1]), (old_timed, plain[0]), (new_timed, plain[1])):
        with pytest.raises(UntrustedError):
            wrong.verify(TEXT, signature)
    message = f"cosignature/v1\ntime {NOW}\n{TEXT}"
    with pytest.raises(UntrustedError):
        new.verify(message, timed[1][8:])
    with pytest.raises(UntrustedError, match="a time up to"):
        old_timed.verify(TEXT, b"\xff" * 8 + timed[0][8:])


# Witnesses.


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> int:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def logs(origin: str) -> list[PublicIdentity]:
    return [BOX.public] if origin == ORIGIN else []


@pytest.fixture
def witness(tmp_path: Path, clock: Clock):
    made = Witness(tmp_path / "witness.db", SERVER, "server.akazuba.example", clock, logs)
    yield made
    made.close()


@pytest.fixture
def neighbour(tmp_path: Path, clock: Clock):
    made = Witness(tmp_path / "neighbour.db", NEIGHBOUR, "box-8.akazuba.example", clock, logs)
    yield made
    made.close()


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
