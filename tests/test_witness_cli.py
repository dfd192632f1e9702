"""Two boxes that share no network vouch for each other's logs; and how often a long-running one signs."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from akazuba.cli.audit import audit
from akazuba.cli.store import opened_store
from akazuba.errors import UntrustedError
from akazuba.governance.audit_anchors import (
    FILE,
    WITHIN_S,
    keep,
    kept_notes,
    last_note,
    log_keys,
    read_key,
    verify_kept,
)
from akazuba.governance.checkpoint import Checkpoint, Verifier, signed
from akazuba.governance.cosigning import carried, take_back
from akazuba.governance.users import PASSPHRASE as BY_PASSPHRASE, add
from akazuba.governance.witness import as_lines_for_qr, split_view
from akazuba.privacy.keys.store import KeyStore
from akazuba.storage.store import Entry, Store
from akazuba.storage.unlocking import Cost, set_up

PASS = "a long passphrase"  # noqa: S105 - of this test
At = Callable[..., Result]


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> At:
    """A command of `audit` on one of two boxes, from a folder that is carried between them."""
    monkeypatch.setenv("AKAZUBA_PASSPHRASE", PASS)
    for name in ("one", "two"):
        set_up(tmp_path / name, PASS, cost=Cost(32, 1, 1))
    (tmp_path / "stick").mkdir()
    monkeypatch.chdir(tmp_path / "stick")

    def run(name: str, *arguments: str, code: int = 0, stdin: str | None = None) -> Result:
        monkeypatch.setenv("AKAZUBA_HOME", str(tmp_path / name))
        done = CliRunner().invoke(audit, list(arguments), input=stdin)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.output
        return done

    for name in ("one", "two"):
        monkeypatch.setenv("AKAZUBA_HOME", str(tmp_path / name))
        with opened_store() as store:
            store.add(Entry("note", "box", name.encode()))
        run(name, "key", "--out", f"{name}.key")
    return run


def grow(at: At, name: str, number: int = 3) -> None:
    at(name, "key")
    with opened_store() as store:
        store.add(*(Entry("note", "box", b"more") for _ in range(number)))


def facts(at: At, *words: str, code: int = 0) -> Any:
    return json.loads(at("one", "verify", "--witness", "two.key", *words, "--json", code=code).stdout)


def carry(at: At, *how: str, since: int | None = None) -> None:
    more = () if since is None else ("--since", str(since))
    at("one", "checkpoint", *more, *how, "--out", "there")
    at("two", "witness", "there", "--key", "one.key", *(how if how == ("--qr",) else ()), "--out", "back")


# --- there and back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [(), ("--json",), ("--qr",)])
def test_a_checkpoint_is_cosigned_by_another_box_and_counts(at: At, how: tuple[str, ...]) -> None:
    carry(at, *how)
    cosigned = json.loads(at("one", "cosigned", "back", "--witness", "two.key", "--json").stdout)
    (name,) = cosigned["witnesses"]
    assert json.loads(Path("two.key").read_bytes())["name"] == name
    judged = facts(at)
    assert judged["sound"]
    assert judged["witnesses"] == [name]
    assert judged["entries"] - judged["since_last_witness"] == cosigned["size"]


def test_the_next_time_the_proof_begins_where_the_witness_stands(at: At) -> None:
    carry(at)
    first = json.loads(at("one", "cosigned", "back", "--witness", "two.key", "--json").stdout)["size"]
    grow(at, "one")
    at("one", "checkpoint", "--out", "there")
    refused = at("two", "witness", "there", code=2).stderr
    assert f"a proof from {first} entries on: `akazuba audit checkpoint --since {first}`" in refused
    carry(at, since=first)
    second = json.loads(at("one", "cosigned", "back", "--witness", "two.key", "--json").stdout)["size"]
    assert second > first
    assert facts(at)["sound"]


def test_the_two_lines_alone_find_their_checkpoint(at: At) -> None:
    carry(at)
    lines = Path("back").read_text(encoding="utf-8").splitlines(keepends=True)[-2:]
    grow(at, "one")
    Path("back").write_text(lines[0], encoding="utf-8")
    alone = at("one", "cosigned", "back", "--witness", "two.key", code=1)
    assert "one of a checkpoint that is kept here" in alone.stderr
    Path("back").write_text("".join(lines), encoding="utf-8")
    at("one", "cosigned", "back", "--witness", "two.key")
    assert facts(at)["witnesses"]


def test_both_logs_say_what_was_cosigned_and_by_whom(at: At) -> None:
    with opened_store() as store:
        add(store, BY_PASSPHRASE, "Jean", "supervisor", "735194")
        add(store, "jean", "Eric", "operator", "604837")
    at("one", "checkpoint", "--out", "there")
    assert "a user who may operate" in at("two", "witness", "there", "--key", "one.key", code=2).stderr
    refused = at("two", "witness", "there", "--key", "one.key", "--as", "Jean", code=2, stdin="735194\n")
    assert "supervisor may not" in refused.stderr
    at("two", "witness", "there", "--key", "one.key", "--as", "Eric", "--out", "back", stdin="604837\n")
    with opened_store() as store:
        assert [entry.by for kind in ("log-known", "witnessed") for entry in store.entries(kind=kind)] == [
            "eric",
            "eric",
        ]
    at("one", "cosigned", "back", "--witness", "two.key")
    with opened_store() as store:
        (entry,) = store.entries(kind="cosigned")
    assert json.loads(entry.body or b"")["witnesses"]


def test_signatures_of_strangers_are_not_kept(at: At, tmp_path: Path) -> None:
    carry(at)
    (line,) = set(Path("back").read_text(encoding="utf-8").splitlines(keepends=True)[-1:])
    Path("back").write_text(
        Path("back").read_text(encoding="utf-8") + line.replace("— ", "— stranger-"), encoding="utf-8"
    )
    at("one", "cosigned", "back", "--witness", "two.key")
    assert "stranger" not in (tmp_path / "one" / FILE).read_text(encoding="utf-8")


# --- what a witness and a log refuse -----------------------------------------------------------------------


def test_an_unknown_log_and_its_own_are_not_cosigned(at: At) -> None:
    at("one", "checkpoint", "--out", "there")
    assert "a log that this witness knows" in at("two", "witness", "there", code=1).stderr
    assert "this box's own" in at("one", "witness", "there", "--key", "one.key", code=2).stderr
    assert "a log that this witness knows" in at("one", "witness", "there", code=1).stderr


def fork(tmp_path: Path, size: int, root: bytes) -> str:
    """Another history, signed by box one itself."""
    with closing(KeyStore(tmp_path / "one" / "keys.sqlite3", lambda: 0)) as keys:
        identity = keys.identity()
    origin = json.loads(Path("one.key").read_bytes())["name"]
    return signed(Checkpoint(origin, size, root, ("time 1",)), identity, origin)


def test_a_log_that_shows_two_histories_is_caught_and_the_proof_convinces_others(
    at: At, tmp_path: Path
) -> None:
    carry(at)
    size = int(Path("back").read_text(encoding="utf-8").split("\n")[1])
    Path("fork").write_text(fork(tmp_path, size, bytes(32)), encoding="utf-8")
    told = at("two", "witness", "fork", "--proof", "proof", code=1).stderr
    assert "this log showed two histories: the proof is proof" in told
    with opened_store() as store:
        assert list(store.entries(kind="log-lied"))
    proof = json.loads(Path("proof").read_bytes())
    assert split_view(proof["first"], proof["second"], [key_of("one.key")])


def test_a_log_that_shrank_is_refused(at: At, tmp_path: Path) -> None:
    carry(at)
    Path("fork").write_text(fork(tmp_path, 1, bytes(32)), encoding="utf-8")
    refused = at("two", "witness", "fork", code=1).stderr
    assert "or more, found 1" in refused
    with opened_store() as store:
        assert list(store.entries(kind="witness-refused"))


def test_a_cosignature_that_does_not_hold_is_not_taken_back(at: At, tmp_path: Path) -> None:
    carry(at)
    cosigned = Path("back").read_text(encoding="utf-8")
    assert "the witness's key file" in at("one", "cosigned", "back", code=2).stderr
    assert "other keys than the log's" in at("one", "cosigned", "back", "--witness", "one.key", code=2).stderr
    at("one", "checkpoint", "--out", "plain")
    assert "a cosignature of" in at("one", "cosigned", "plain", "--witness", "two.key", code=1).stderr
    Path("back").write_text(cosigned.replace("\ntime ", "\ntime 1"), encoding="utf-8")
    at("one", "cosigned", "back", "--witness", "two.key", code=1)
    size = int(cosigned.split("\n")[1])
    forked = fork(tmp_path, size, bytes(32))
    Path("fork").write_text(forked + "".join(cosigned.splitlines(keepends=True)[-2:]), encoding="utf-8")
    refused = at("one", "cosigned", "fork", "--witness", "two.key", code=1).stderr
    assert f"expected a state of this log, which has {size} entries" in refused
    with opened_store() as store:
        assert not list(store.entries(kind="cosigned"))


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"{}", b'{"note": 1}', b"AKAZUBA1:1:1:", b"0" * 64, b"[" * 100_000, b'{"note":' * 9000],
)
def test_what_is_no_checkpoint_is_refused_in_words(at: At, data: bytes) -> None:
    Path("there").write_bytes(data)
    for name, command in (
        ("two", ("witness", "there")),
        ("one", ("cosigned", "there", "--witness", "two.key")),
    ):
        assert at(name, *command, code=1).stderr.startswith("error: ")


def test_what_was_carried_is_the_same_in_every_form(at: At) -> None:
    grow(at, "one")
    forms = []
    for how in ((), ("--json",), ("--qr",)):
        at("one", "checkpoint", "--since", "2", *how, "--out", "there")
        forms.append(carried(Path("there").read_bytes()))
    assert forms[0] == forms[1] == forms[2]
    assert forms[0][1]
    note, proof = forms[0]
    assert carried("\n".join(reversed(as_lines_for_qr(note, proof))).encode()) == (note, proof)


# --- a program that stays open -----------------------------------------------------------------------------


class Clock:
    """Seconds since 1970 that a test sets."""

    def __init__(self) -> None:
        self.s = 1_790_000_000

    def __call__(self) -> int:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(tmp_path: Path, clock: Clock) -> Iterator[tuple[Path, Store]]:
    key = set_up(tmp_path / "box", PASS, cost=Cost(32, 1, 1))
    with closing(Store(tmp_path / "box", key, lambda: clock.s * 1000)) as store:
        keep(tmp_path / "box", store, clock)
        yield tmp_path / "box", store


def test_a_call_a_minute_signs_nothing_while_nothing_is_recorded(
    server: tuple[Path, Store], clock: Clock
) -> None:
    home, store = server
    before = (home / FILE).read_bytes()
    for _ in range(200):
        clock.s += 60
        assert keep(home, store, clock, 1000, WITHIN_S) is None
    assert (home / FILE).read_bytes() == before
    assert store.size == 1


def test_it_signs_after_so_many_entries_or_so_long_whichever_comes_first(
    server: tuple[Path, Store], clock: Clock
) -> None:
    home, store = server
    store.add(Entry("note", "box", b""))
    assert keep(home, store, clock, 10, WITHIN_S) is None
    clock.s += WITHIN_S
    assert keep(home, store, clock, 10, WITHIN_S)
    assert keep(home, store, clock, 10, WITHIN_S) is None
    for number in range(10):
        assert keep(home, store, clock, 10, WITHIN_S) is None, number
        store.add(Entry("note", "box", b""))
    assert keep(home, store, clock, 10, WITHIN_S)
    assert verify_kept(home, store, log_keys(store)).unanchored == 0


def test_a_clock_that_goes_back_leaves_no_entry_unsigned(server: tuple[Path, Store], clock: Clock) -> None:
    home, store = server
    store.add(Entry("note", "box", b""))
    clock.s -= 400 * 86_400
    assert keep(home, store, clock, 1000, WITHIN_S)
    assert keep(home, store, clock, 1000, WITHIN_S) is None


@pytest.mark.parametrize("torn", [0, 100])
def test_a_power_cut_after_a_cosigned_note_loses_no_anchor(at: At, tmp_path: Path, torn: int) -> None:
    carry(at)
    grow(at, "one")
    home, seer = tmp_path / "one", key_of("two.key")
    with opened_store() as store:
        last = last_note(store)
        take_back(home, store, "eric", Path("back").read_text(encoding="utf-8"), [seer])
        assert kept_notes(home)[-1] == last
        shutil.copytree(home, tmp_path / "cut")
    data = (tmp_path / "cut" / FILE).read_bytes()
    (tmp_path / "cut" / FILE).write_bytes(data[: data.rindex(last.encode()) + torn])
    shutil.rmtree(home)
    (tmp_path / "cut").rename(home)
    with opened_store() as store:
        assert not list(store.entries(kind="anchors-lost"))
        assert verify_kept(home, store, (), [seer]).sound
        shutil.copytree(home, tmp_path / "shortened")
    data = (tmp_path / "shortened" / FILE).read_bytes()
    (tmp_path / "shortened" / FILE).write_bytes(data[: data.index(last.encode())])
    shutil.rmtree(home)
    (tmp_path / "shortened").rename(home)
    with opened_store() as store:
        assert list(store.entries(kind="anchors-lost")), "a file that was cut short still shows"


def test_a_log_believes_no_note_that_it_did_not_sign(at: At, tmp_path: Path) -> None:
    carry(at)
    text, key = Path("back").read_text(encoding="utf-8"), key_of("one.key")
    with opened_store() as store, pytest.raises(UntrustedError, match="signatures of"):
        take_back(tmp_path / "two", store, "eric", text, [key])


def key_of(path: str) -> Verifier:
    return read_key(Path(path).read_bytes(), path)
