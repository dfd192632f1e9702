"""The audit log: what verifies, every way in which it was tampered with, proofs, and who read what."""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from akazuba.errors import ArtefactError, InputError, UntrustedError
from akazuba.governance.audit import MOST_PROBLEMS, Verdict, checkpoint, verify
from akazuba.governance.audit_anchors import (
    FILE as ANCHORS,
    keep,
    kept_notes,
    key_file,
    last_note,
    log_keys,
    notes_of,
    origin,
    read_key,
    verify_kept,
)
from akazuba.governance.audit_proofs import (
    Proof,
    check,
    check_exported,
    exported,
    is_exported_log,
    leaf_of,
    prove,
)
from akazuba.governance.audit_reads import read_patient, record_reads, who_read
from akazuba.governance.checkpoint import Verifier, read_checkpoint, read_note
from akazuba.governance.witness import Witness
from akazuba.merkle import Frontier, leaf_hash
from akazuba.privacy.keys.identity import new_identity
from akazuba.privacy.keys.store import KeyStore
from akazuba.storage.file import opened
from akazuba.storage.person import Person
from akazuba.storage.store import Entry, Store, leaf
from akazuba.storage.unlocking import FILE, Cost, StoreKey, set_up

CHEAP = Cost(32, 1, 1)
NOW = 1_790_000_000
ORIGIN = "box-7"
BOX, SERVER, STRANGER = (new_identity(os.urandom) for _ in range(3))
LOG = [Verifier(ORIGIN, BOX.public)]
CHANTAL = Person("p1", "Uwimana Chantal", "1990")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "box"


@pytest.fixture
def key(home: Path) -> StoreKey:
    return set_up(home, "a long passphrase", cost=CHEAP)


@pytest.fixture
def store(home: Path, key: StoreKey) -> Iterator[Store]:
    with closing(Store(home, key, lambda: NOW * 1000)) as made:
        made.admit(CHANTAL, "nurse-1")
        made.add(*(Entry("case", "nurse-1", b'{"id": "c%d"}' % i, "p1") for i in range(11)))
        yield made


def tamper(home: Path, key: StoreKey, *statements: str) -> None:
    """Whoever has the store's key can do this."""
    with closing(opened(home / FILE, key.database, read_only=False)) as file:
        for table in ("entry", "node"):
            for change in ("update", "delete"):
                file.execute(f"DROP TRIGGER IF EXISTS {table}_{change}")
        for statement in statements:
            file.execute(statement)


def reopened(home: Path, key: StoreKey) -> Store:
    return Store(home, key, lambda: NOW * 1000, read_only=True)


def judged(home: Path, key: StoreKey, *anchors: str) -> Verdict:
    with closing(reopened(home, key)) as again:
        return verify(again, anchors, LOG)


def said(verdict: Verdict) -> list[str]:
    return [str(problem) for problem in verdict.problems]


def rebuilt(home: Path, key: StoreKey) -> None:
    """Makes the whole tree fit what is stored, as a thorough forger would."""
    with closing(opened(home / FILE, key.database, read_only=False)) as file:
        rows = list(file.execute("SELECT idx, at_ms, kind, by, patient, stored FROM entry ORDER BY idx"))
        file.execute("DELETE FROM node")
        log = Frontier()
        for row in rows:
            log, made = log.appended(leaf_hash(leaf(row[:5], row[5])))
            file.executemany("INSERT INTO node VALUES (?, ?, ?)", [(n.level, n.index, n.hash) for n in made])


# --- what verifies ------------------------------------------------------------------------------------


def test_an_untouched_log_verifies_against_every_checkpoint(store: Store) -> None:
    anchors = []
    for number in range(5):
        anchors.append(checkpoint(store, BOX, ORIGIN, NOW + number))
        store.add(Entry("note", "nurse-1", b"x"))
    verdict = verify(store, anchors, LOG)
    assert verdict.sound
    assert [anchor.size for anchor in verdict.anchors] == [12, 13, 14, 15, 16]
    assert (verdict.size, verdict.root) == (store.size, store.root)
    assert verdict.unanchored == 1
    assert verdict.unwitnessed == 17


def test_an_empty_log_verifies(home: Path, key: StoreKey) -> None:
    with closing(Store(home, key, lambda: 0)) as empty:
        verdict = verify(empty, [checkpoint(empty, BOX, ORIGIN, NOW)], LOG)
    assert verdict.sound
    assert verdict.anchors[0].size == 0


def test_a_log_stays_sound_when_a_patient_is_erased(store: Store) -> None:
    anchor = checkpoint(store, BOX, ORIGIN, NOW)
    store.erase("p1", "supervisor", "asked for it")
    assert verify(store, [anchor], LOG).sound


def test_cosignatures_of_witnesses_are_counted(store: Store, tmp_path: Path) -> None:
    note = checkpoint(store, BOX, ORIGIN, NOW)
    witness = Witness(tmp_path / "w.sqlite3", SERVER, "server", lambda: NOW + 60, lambda _: [BOX.public])
    with closing(witness):
        note += witness.cosign(note)
    verdict = verify(store, [note], LOG, [witness.verifier])
    assert verdict.anchors[0].witnesses == {"server": NOW + 60}
    assert verdict.unwitnessed == 0


# --- what does not ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "stored = x'00'",
        "at_ms = at_ms + 1",
        "kind = 'note'",
        "by = 'nobody'",
        "patient = ''",
        "stored = 'a text'",
    ],
)
def test_an_altered_entry_is_named(home: Path, key: StoreKey, store: Store, change: str) -> None:
    anchor = checkpoint(store, BOX, ORIGIN, NOW)
    tamper(home, key, f"UPDATE entry SET {change} WHERE idx = 5")  # noqa: S608
    verdict = judged(home, key, anchor)
    assert "entry 5: altered: what is stored is not what was recorded" in said(verdict)
    assert {problem.index for problem in verdict.problems} <= {5, None}
    assert verdict.anchors, "the rest is still compared with what was signed"


def test_a_missing_entry_is_named(home: Path, key: StoreKey, store: Store) -> None:
    tamper(home, key, "DELETE FROM entry WHERE idx IN (3, 4)")
    assert said(judged(home, key, checkpoint(store, BOX, ORIGIN, NOW))) == [
        "entry 3: missing",
        "entry 4: missing",
    ]


def test_missing_last_entries_are_named_by_their_leaves(home: Path, key: StoreKey, store: Store) -> None:
    anchor = checkpoint(store, BOX, ORIGIN, NOW)
    tamper(home, key, "DELETE FROM entry WHERE idx >= 8")
    verdict = judged(home, key, anchor)
    assert [problem.index for problem in verdict.problems if problem.what == "missing"] == [8, 9, 10, 11]


def test_an_entry_gone_with_its_leaf_is_named(home: Path, key: StoreKey, store: Store) -> None:
    tamper(home, key, "DELETE FROM entry WHERE idx = 6", "DELETE FROM node WHERE level = 0 AND idx = 6")
    assert "entry 6: missing, and its leaf too" in said(judged(home, key))


def test_a_leaf_that_was_altered_with_its_entry_shows_above_it(
    home: Path, key: StoreKey, store: Store
) -> None:
    tamper(home, key, "UPDATE entry SET by = 'x' WHERE idx = 5")
    with closing(reopened(home, key)) as again:
        new = dict(again.leaves())[5]
    tamper(home, key, f"UPDATE node SET hash = x'{new.hex()}' WHERE level = 0 AND idx = 5")  # noqa: S608
    first = said(judged(home, key))[0]
    assert first == "the tree above the entries 4 to 5 does not hold: its hash is another one"


def test_an_altered_and_a_missing_inner_node_show(home: Path, key: StoreKey, store: Store) -> None:
    tamper(home, key, "UPDATE node SET hash = zeroblob(32) WHERE level = 1 AND idx = 1")
    assert said(judged(home, key)) == [
        "the tree above the entries 2 to 3 does not hold: its hash is another one"
    ]
    tamper(home, key, "DELETE FROM node WHERE level = 1 AND idx = 1")
    assert said(judged(home, key)) == ["the tree above the entries 2 to 3 does not hold: its hash is missing"]


def test_a_rewritten_log_fails_against_the_checkpoint_before(home: Path, key: StoreKey, store: Store) -> None:
    first = checkpoint(store, BOX, ORIGIN, NOW)
    store.add(Entry("note", "nurse-1", b"a"), Entry("note", "nurse-1", b"b"))
    second = checkpoint(store, BOX, ORIGIN, NOW + 1)
    tamper(home, key, "UPDATE entry SET stored = x'00' WHERE idx = 13")
    rebuilt(home, key)
    assert said(judged(home, key)) == [], "the tree alone shows nothing any more"
    verdict = judged(home, key, first, second)
    assert said(verdict) == [
        "rewritten: an entry from 12 to 13 is not the one that was signed (1 of 2 checkpoints do not hold)"
    ]
    assert [anchor.size for anchor in verdict.anchors] == [12]


def test_a_rolled_back_store_shows_against_a_later_checkpoint(
    home: Path, key: StoreKey, store: Store
) -> None:
    store.add(Entry("note", "nurse-1", b"lost"))
    later = checkpoint(store, BOX, ORIGIN, NOW)
    tamper(home, key, "DELETE FROM entry WHERE idx = 12")
    rebuilt(home, key)
    assert said(judged(home, key, later)) == [
        "rolled back: a checkpoint says 13 entries, and 12 are here; the entries 12 to 12 are missing"
    ]


def test_a_forked_log_is_said_to_be_one(store: Store, tmp_path: Path) -> None:
    with closing(Store(tmp_path / "other", StoreKey(bytes(32)), lambda: 0)) as other:
        other.add(*(Entry("note", "x", b"another story") for _ in range(store.size)))
        anchors = [checkpoint(each, BOX, ORIGIN, NOW) for each in (store, other)]
    words = said(verify(store, anchors, LOG))
    assert words[0] == "forked: the log signed 2 different roots for its first 12 entries"


def test_a_checkpoint_by_a_stranger_is_not_believed(store: Store) -> None:
    verdict = verify(store, [checkpoint(store, STRANGER, ORIGIN, NOW)], LOG)
    assert not verdict.sound
    assert not verdict.anchors
    assert "checkpoint number 1 cannot be believed" in said(verdict)[0]


def test_other_particulars_than_recorded_show(home: Path, key: StoreKey, store: Store) -> None:
    tamper(home, key, "UPDATE patient SET name = 'Somebody Else'")
    assert said(judged(home, key)) == ["patient p1: other particulars than were recorded"]


def test_an_altered_page_shows(home: Path, key: StoreKey, store: Store) -> None:
    anchor = checkpoint(store, BOX, ORIGIN, NOW)
    store.add(*(Entry("note", "n", bytes(3000)) for _ in range(20)))
    store.close()
    data = bytearray((home / FILE).read_bytes())
    data[12 * 4096 + 99] ^= 1
    (home / FILE).write_bytes(data)
    assert not judged(home, key, anchor).sound


def test_many_problems_are_counted_and_not_all_named(home: Path, key: StoreKey, store: Store) -> None:
    store.add(*(Entry("note", "n", b"x") for _ in range(200)))
    tamper(home, key, "UPDATE entry SET by = 'x'")
    verdict = judged(home, key)
    assert len(verdict.problems) == MOST_PROBLEMS
    assert verdict.more >= 212 - MOST_PROBLEMS


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(index=st.integers(0, 11), column=st.sampled_from(["at_ms", "kind", "by", "patient", "stored"]))
def test_no_altered_entry_is_missed(home: Path, key: StoreKey, store: Store, index: int, column: str) -> None:
    with closing(opened(home / FILE, key.database, read_only=False)) as file:
        file.execute("DROP TRIGGER IF EXISTS entry_update")
        query = f"SELECT {column} FROM entry WHERE idx = ?"  # noqa: S608
        (before,) = file.execute(query, (index,)).fetchone()
        update = f"UPDATE entry SET {column} = ? WHERE idx = ?"  # noqa: S608
        after = (
            before + 1 if column == "at_ms" else before + type(before)(b"x" if column == "stored" else "x")
        )
        file.execute(update, (after, index))
        verdict = verify(store, [], LOG)
        file.execute(update, (before, index))
    assert index in [problem.index for problem in verdict.problems]
    assert verify(store, [], LOG).sound


# --- where checkpoints are kept -----------------------------------------------------------------------


def test_a_checkpoint_is_taken_only_when_the_log_grew(home: Path, store: Store) -> None:
    assert keep(home, store, lambda: NOW) is not None
    assert keep(home, store, lambda: NOW) is None
    store.add(Entry("note", "n", b"x"))
    assert keep(home, store, lambda: NOW, every=2) is None
    store.add(Entry("note", "n", b"x"))
    assert keep(home, store, lambda: NOW, every=2) is not None
    assert len(kept_notes(home)) == 2
    assert verify_kept(home, store).sound
    assert (home / ANCHORS).stat().st_mode & 0o777 == 0o600


def test_the_last_checkpoint_cut_off_shows_and_is_put_back(home: Path, store: Store) -> None:
    keep(home, store, lambda: NOW)
    store.add(Entry("note", "n", b"x"))
    keep(home, store, lambda: NOW)
    first, second = kept_notes(home)
    (home / ANCHORS).write_text(first + "\n", encoding="utf-8")
    assert said(verify_kept(home, store)) == [
        "checkpoints.txt lacks the last checkpoint that the store remembers"
    ]
    keep(home, store, lambda: NOW)
    assert second in kept_notes(home)
    assert [entry.kind for entry in store.entries(kind="anchors-lost")] == ["anchors-lost"]
    assert verify_kept(home, store).sound


def test_a_store_put_back_shows_and_is_told_once(home: Path, key: StoreKey, store: Store) -> None:
    keep(home, store, lambda: NOW)
    store.close()
    old = (home / FILE).read_bytes()
    with closing(Store(home, key, lambda: 0)) as again:
        again.add(Entry("note", "n", b"acknowledged, then lost by the disk"))
        keep(home, again, lambda: NOW)
    (home / FILE).write_bytes(old)
    with closing(Store(home, key, lambda: 0)) as again:
        assert any("rolled back" in problem for problem in said(verify_kept(home, again)))
        keep(home, again, lambda: NOW)
        keep(home, again, lambda: NOW)
        assert len(list(again.entries(kind="log-put-back"))) == 1
        assert not verify_kept(home, again).sound, "it is never forgotten"


def test_an_end_that_a_power_cut_left_is_cut_off(home: Path, store: Store) -> None:
    keep(home, store, lambda: NOW)
    (whole,) = kept_notes(home)
    data = (home / ANCHORS).read_bytes()
    for end in (1, 30, len(whole.partition("\n\n")[0]) + 2, len(data) - 5000, len(data) - 1):
        (home / ANCHORS).write_bytes(data + data[:end])
        assert kept_notes(home) == [whole]
    store.add(Entry("note", "n", b"x"))
    keep(home, store, lambda: NOW)
    assert len(kept_notes(home)) == 2
    assert verify_kept(home, store).sound


def test_bytes_that_are_no_checkpoint_stay_and_are_named(home: Path, store: Store) -> None:
    keep(home, store, lambda: NOW)
    with (home / ANCHORS).open("ab") as file:
        file.write(b"\xff" * 200_000)
    store.add(Entry("note", "n", b"x"))
    keep(home, store, lambda: NOW)
    assert any("cannot be believed" in problem for problem in said(verify_kept(home, store)))


def test_a_damaged_byte_of_the_file_of_checkpoints_is_named(home: Path, store: Store) -> None:
    for _ in range(3):
        keep(home, store, lambda: NOW)
        store.add(Entry("note", "n", b"x"))
    data = bytearray((home / ANCHORS).read_bytes())
    chance = random.Random(8)
    for _ in range(15):
        at = chance.randrange(len(data) * 2 // 3)
        (home / ANCHORS).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert not verify_kept(home, store).sound


def test_the_log_names_every_key_that_it_signed_with(home: Path, store: Store) -> None:
    keep(home, store, lambda: NOW)
    with closing(KeyStore(home / "keys.sqlite3", lambda: NOW)) as keys:
        keys.next_identity()
        rotated = keys.rotate()
    store.add(Entry("note", "n", b"x"))
    keep(home, store, lambda: NOW)
    first, second = log_keys(store)
    assert first.name == second.name == origin(store)
    assert second.public == rotated.public
    assert verify_kept(home, store).sound
    assert not verify_kept(home, store, [first]).sound, "an auditor who only knows the old key asks"


def test_a_checkpoint_kept_elsewhere_catches_what_was_rewritten_at_home(
    home: Path, key: StoreKey, store: Store
) -> None:
    keep(home, store, lambda: NOW)
    elsewhere = kept_notes(home)
    store.close()
    tamper(
        home, key, "UPDATE entry SET by = 'x' WHERE idx = 5", "DELETE FROM remembered WHERE name LIKE 'last%'"
    )
    rebuilt(home, key)
    (home / ANCHORS).unlink()
    with closing(Store(home, key, lambda: 0)) as again:
        keep(home, again, lambda: NOW)
        assert verify_kept(home, again).sound, "at home everything fits"
        assert not verify_kept(home, again, elsewhere=elsewhere).sound


def test_a_key_file_comes_back_and_anything_else_is_refused() -> None:
    assert read_key(key_file(LOG[0]), "key") == LOG[0]
    for bad in (b"", b"{}", b"\xff", key_file(LOG[0])[:-9], b'{"name":"a b","ed25519":"","mldsa65":""}'):
        with pytest.raises(InputError, match="key: expected a key file"):
            read_key(bad, "key")


def test_no_checkpoint_yet_is_said(store: Store) -> None:
    with pytest.raises(InputError, match="checkpoint: expected one that was taken"):
        last_note(store)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_no_file_of_checkpoints_is_a_crash(parts: list[bytes]) -> None:
    data = b"\n\n".join([b"\xe2\x80\x94 x", *parts, b""])
    assert all(isinstance(note, str) for note in notes_of(data))


# --- proofs -------------------------------------------------------------------------------------------


def proof_of(store: Store, index: int) -> bytes:
    return msgspec.json.encode(prove(store, index, checkpoint(store, BOX, ORIGIN, NOW)))


def test_every_entry_can_be_proved_with_the_public_key_alone(store: Store) -> None:
    for index in range(store.size):
        data = proof_of(store, index)
        it = check(data, LOG)
        assert (it.head[0], it.origin, it.size, it.time_s) == (index, ORIGIN, store.size, NOW)
        assert b'"id"' not in data, "it holds nothing of what the entry says"


def test_a_proof_holds_by_an_older_checkpoint(store: Store) -> None:
    note = checkpoint(store, BOX, ORIGIN, NOW)
    store.add(*(Entry("note", "n", b"x") for _ in range(30)))
    assert check(msgspec.json.encode(prove(store, 3, note)), LOG).size == 12
    with pytest.raises(InputError, match="an entry that the checkpoint counts, 0 to 11, found 12"):
        prove(store, 12, note)


def test_the_leaf_of_a_proof_is_the_leaf_of_the_store(store: Store) -> None:
    hashed = [leaf_of(head, stored) for head, stored in store.heads()]
    assert hashed == [leaf for _, leaf in store.leaves()]


@pytest.mark.parametrize(
    "bend",
    [
        lambda p: replaced(p, index=4),
        lambda p: replaced(p, at_ms=p.at_ms + 1),
        lambda p: replaced(p, kind="decision"),
        lambda p: replaced(p, by="somebody else"),
        lambda p: replaced(p, patient="p2"),
        lambda p: replaced(p, stored=bytes(32)),
        lambda p: replaced(p, path=p.path[1:]),
        lambda p: replaced(p, path=(*p.path, bytes(32))),
        lambda p: replaced(p, checkpoint=p.checkpoint.replace("\n12\n", "\n13\n")),
        lambda p: replaced(p, checkpoint=""),
    ],
)
def test_a_bent_proof_does_not_hold(store: Store, bend: Callable[[Proof], Proof]) -> None:
    proof = msgspec.json.decode(proof_of(store, 5), type=Proof)
    with pytest.raises(UntrustedError):
        check(msgspec.json.encode(bend(proof)), LOG)


def replaced(proof: Proof, **parts: Any) -> Proof:
    return msgspec.structs.replace(proof, **parts)


def test_a_proof_by_another_key_does_not_hold(store: Store) -> None:
    with pytest.raises(UntrustedError):
        check(proof_of(store, 5), [Verifier(ORIGIN, STRANGER.public)])


@pytest.mark.parametrize("data", [b"", b"{}", b"[" * 100_000, b"\xff", b'{"version": 2}', b"null"])
def test_what_is_no_proof_is_refused(data: bytes) -> None:
    with pytest.raises(UntrustedError, match="proof: expected a proof of version 1"):
        check(data, LOG)


@given(st.binary(max_size=200))
def test_no_bytes_are_a_crash(data: bytes) -> None:
    with pytest.raises(UntrustedError):
        check(data, LOG)
    with pytest.raises(UntrustedError):
        check_exported([data], LOG)


# --- the whole log, carried away ----------------------------------------------------------------------


def carried(store: Store) -> list[bytes]:
    return list(exported(store, [checkpoint(store, BOX, ORIGIN, NOW)]))


def test_an_exported_log_verifies_without_the_store_and_holds_no_content(store: Store) -> None:
    lines = carried(store)
    assert is_exported_log(lines[0])
    assert not is_exported_log(proof_of(store, 1))
    verdict = check_exported(lines, LOG)
    assert verdict.sound
    assert verdict.root == store.root
    assert b"Chantal" not in b"".join(lines)
    assert b'"id"' not in b"".join(lines)


@pytest.mark.parametrize(
    ("bend", "named"),
    [
        (
            lambda lines: [*lines[:6], lines[6].replace(b"nurse-1", b"nurse-2"), *lines[7:]],
            "entry 5: altered",
        ),
        (lambda lines: [*lines[:6], *lines[7:]], "entry 5: missing, and its leaf too"),
        (lambda lines: [*lines[:6], lines[6], *lines[6:]], "entry 5: stands there twice"),
        (lambda lines: [*lines[:12], lines[13]], "the file says 12 entries and has 11"),
        (lambda lines: [*lines[:12], lines[13]], "rolled back: a checkpoint says 12 entries"),
    ],
)
def test_a_bent_exported_log_shows(
    store: Store, bend: Callable[[list[bytes]], list[bytes]], named: str
) -> None:
    verdict = check_exported(bend(carried(store)), LOG)
    assert any(problem.startswith(named) for problem in said(verdict))


@pytest.mark.parametrize("line", [b"", b"{}\n", b"x\n", b"[]\n", b'{"index": -1}\n', b"\xff\n"])
def test_a_line_that_is_none_is_refused(store: Store, line: bytes) -> None:
    with pytest.raises(UntrustedError, match="line 3: expected one of an exported log"):
        check_exported([*carried(store)[:2], line], LOG)
    with pytest.raises(UntrustedError, match="line 1"):
        check_exported([line], LOG)


def test_an_exported_log_with_a_far_index_takes_no_memory(store: Store) -> None:
    lines = carried(store)
    lines[5] = lines[5].replace(b'"index":4', b'"index":9000000000000')
    with pytest.raises(UntrustedError, match="exported log: expected entry 4, found entry 9000000000000"):
        check_exported(lines, LOG)
    far = [lines[4].replace(b'"index":3', b'"index":%d' % (900_000 * number)) for number in (1, 2)]
    with pytest.raises(UntrustedError, match="found entry 1800000"):
        check_exported([*lines[:5], *far], LOG)


# --- who read what ------------------------------------------------------------------------------------


def test_a_read_is_in_the_log_before_anything_is_shown(store: Store) -> None:
    entries = read_patient(store, "p1", "nurse-2", "came back", lambda: NOW * 1000)
    assert len(entries) == 12
    (read,) = store.entries(kind="read")
    assert (read.by, read.patient, read.index) == ("nurse-2", "p1", 12)
    event = msgspec.json.decode(read.body or b"")
    assert event["resourceType"] == "AuditEvent"
    assert event["type"]["code"] == "rest"
    assert event["subtype"][0]["code"] == "read"
    assert (event["action"], event["outcome"]) == ("R", "0")
    codes = [agent["type"]["coding"][0]["code"] for agent in event["agent"]]
    assert codes == ["110152", "110153", "IRCP"], "client, server and user of BALP's Read"
    assert [agent["requestor"] for agent in event["agent"]] == [False, False, True]
    assert event["agent"][2]["who"]["display"] == "nurse-2"
    assert [entity["type"]["code"] for entity in event["entity"]] == ["1", "2"]
    assert event["recorded"] == "2026-09-21T14:13:20.000+00:00"


def test_who_read_is_listed_and_outlives_the_patients_record(store: Store) -> None:
    read_patient(store, "p1", "nurse-2", "came back")
    store.add(Entry("read", "supervisor", b'{"what": "break-glass", "index": 3}', "p1"))
    assert [(r.by, r.why) for r in who_read(store, "p1")] == [
        ("nurse-2", "came back"),
        ("supervisor", "break-glass"),
    ]
    store.erase("p1", "supervisor", "asked for it")
    assert [(r.by, r.why) for r in who_read(store, "p1")] == [("nurse-2", None), ("supervisor", None)]


def test_nobody_reads_without_a_reason_or_of_an_unknown_patient(store: Store) -> None:
    for why in ("", "  ", "x" * 501):
        with pytest.raises(InputError, match="why: expected a reason"):
            read_patient(store, "p1", "nurse-2", why)
    with pytest.raises(InputError, match="unknown or erased"):
        read_patient(store, "p2", "nurse-2", "curious")
    assert not list(store.entries(kind="read"))


def test_nothing_is_shown_when_the_read_cannot_be_recorded(home: Path, key: StoreKey, store: Store) -> None:
    with closing(reopened(home, key)) as only_read, pytest.raises(InputError, match="opened to read only"):
        read_patient(only_read, "p1", "nurse-2", "came back")


def test_several_reads_are_one_transaction(store: Store) -> None:
    size = store.size
    with pytest.raises(InputError, match="unknown or erased"):
        record_reads(store, ["p1", "nobody"], "nurse-2", "searched", "names")
    assert store.size == size


def test_a_read_that_is_none_is_named(store: Store) -> None:
    store.add(Entry("read", "n", b"no JSON", "p1"))
    with pytest.raises(ArtefactError, match="entry 12: expected an AuditEvent"):
        who_read(store, "p1")


def test_the_last_note_is_the_stand(home: Path, store: Store) -> None:
    keep(home, store, lambda: NOW)
    stand = read_checkpoint(read_note(last_note(store)).text)
    assert (stand.size, stand.root, stand.stated("time")) == (store.size, store.root, NOW)
