"""Checkpoints and their notes: what is believed, and every way in which it is not."""

from base64 import b64decode, b64encode
from dataclasses import replace

import pytest
from checkpoint_bench import (
    BOX,
    HONEST,
    LOG,
    NEW_LINE,
    NOTE,
    NOW,
    OLD_LINE,
    ORIGIN,
    SIGNATURES,
    STRANGER,
    TEXT,
)
from hypothesis import given, settings, strategies as st

from akazuba.errors import InputError, UntrustedError
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
from akazuba.merkle import EMPTY_ROOT
from akazuba.privacy.keys.identity import Identity, PublicIdentity

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
