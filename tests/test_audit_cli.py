"""`akazuba audit` and `akazuba store` as an auditor and a clinic use them, and how they refuse."""

import io
import json
import os
import stat
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from akazuba.cli.audit import audit
from akazuba.cli.store import opened_store, store
from akazuba.errors import InputError
from akazuba.fhir import case_from_bundle
from akazuba.governance.audit_anchors import FILE as ANCHORS, key_file
from akazuba.governance.decisions import Versions, record_consultation
from akazuba.governance.users import PASSPHRASE as BY_PASSPHRASE, add
from akazuba.governance.witness import Witness
from akazuba.privacy.keys.identity import new_identity
from akazuba.records import (
    Assessment,
    Candidate,
    Evidence,
    ImageReading,
    Provenance,
    Quality,
    Triage,
    TriageReason,
)
from akazuba.storage.file import opened
from akazuba.storage.person import Person
from akazuba.storage.spool import Spool
from akazuba.storage.store import Entry, Store
from akazuba.storage.unlocking import FILE, KEY_FILE, Cost, StoreKey, key_file as store_key_file, set_up

PASS, PAPER = "a long passphrase", "the paper in the safe"
NURSE, SUPERVISOR, AUDITOR = ("Chantal", "4071"), ("Jean", "735194"), ("Aline", "604837")
Command = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "box"


@pytest.fixture
def key(home: Path) -> StoreKey:
    return set_up(home, PASS, cost=Cost(32, 1, 1))


@pytest.fixture
def box(home: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """One command of `audit` or `store`; stdin: what is typed."""
    monkeypatch.setenv("AKAZUBA_HOME", str(home))
    monkeypatch.setenv("AKAZUBA_PASSPHRASE", PASS)

    def run(group: click.Group, *arguments: str, stdin: str | None = None) -> Result:
        done = CliRunner().invoke(group, list(arguments), input=stdin)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run


@pytest.fixture
def done(key: StoreKey, box: Command) -> dict[str, int]:
    """A patient with a consultation and a picture; the indices of their entries."""
    film = io.BytesIO()
    Image.new("L", (16, 16), 90).save(film, "PNG")
    case = {"id": "c1", "note": "cough", "images": [{"path": "film.png", "kind": "chest-xray"}]}
    body = json.dumps(case).encode()
    grid = ((0.0, 1.0), (-1.0, 4.0))
    image = ImageReading(
        "film.png", "chest-xray", Quality(True), {"tuberculosis": 0.8, "normal": 0.2}, heatmap_grid=grid
    )
    assessment = Assessment(
        "c1",
        triage=Triage("yellow", (TriageReason("spo2", "yellow", "WHO IITT 2023", "SpO2 93 %"),), ("pulse",)),
        differential=(Candidate("tuberculosis", 0.31, evidence=(Evidence("cough", 3.0, "HPO"),)),),
        images=(image,),
        provenance=Provenance(
            sha256(body).hexdigest(), {"image": "0a1b"}, "knowledge 3", ("IITT",), None, "1.0"
        ),
    )
    with opened_store() as made:
        made.admit(Person("p1", "Uwim\u00e1na Chantal", "1990"), "nurse-1")
        pictures = {"film.png": film.getvalue()}
        ran = Versions(*["ab" * 32] * 2, {}, {}, "ab" * 32)
        first, second = record_consultation(
            made, body, msgspec.json.encode(assessment), "nurse-1", "p1", ran, pictures
        )
        made.add(Entry("note", "box", b"\xff no JSON"))
        return {"case": first.index, "assessment": second.index, "note": made.size - 1}


def with_users() -> None:
    with opened_store() as made:
        add(made, BY_PASSPHRASE, SUPERVISOR[0], "supervisor", SUPERVISOR[1])
        add(made, "jean", NURSE[0], "nurse", NURSE[1])
        add(made, "jean", AUDITOR[0], "auditor", AUDITOR[1])


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def tamper(home: Path, key: StoreKey, statement: str) -> None:
    with closing(opened(home / FILE, key.database, read_only=False)) as file:
        for trigger in ("entry_update", "entry_delete", "node_update", "node_delete"):
            file.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        file.execute(statement)


# --- audit verify -------------------------------------------------------------------------------------


def test_a_sound_log_says_so_and_how_far_it_is_anchored(box: Command, done: dict[str, int]) -> None:
    verified = box(audit, "verify")
    assert verified.exit_code == 0
    assert "sound: nothing is altered, missing or out of order" in verified.stdout
    assert "named by the log itself: compare it with your own copy" in verified.stdout
    facts = answer(box(audit, "verify", "--json"))
    assert facts["sound"]
    assert facts["since_last_checkpoint"] == 0
    assert facts["since_last_witness"] == facts["entries"]
    assert facts["checkpoints"] == 2


def test_verifying_changes_nothing(box: Command, home: Path, done: dict[str, int]) -> None:
    before = {path.name: path.read_bytes() for path in home.iterdir() if path.is_file()}
    box(audit, "verify")
    after = {path.name: path.read_bytes() for path in home.iterdir() if path.is_file()}
    assert {n: d for n, d in before.items() if "-" not in n} == {
        n: d for n, d in after.items() if "-" not in n
    }


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE entry SET by = 'x' WHERE idx = 3", "WRONG: entry 3: altered"),
        ("DELETE FROM entry WHERE idx = 2", "WRONG: entry 2: missing"),
        ("UPDATE node SET hash = zeroblob(32) WHERE level = 1 AND idx = 0", "entries 0 to 1"),
        ("UPDATE patient SET name = 'x'", "WRONG: patient p1: other particulars"),
    ],
)
def test_what_is_wrong_is_named_and_ends_with_1(
    box: Command, home: Path, key: StoreKey, done: dict[str, int], statement: str, named: str
) -> None:
    tamper(home, key, statement)
    verified = box(audit, "verify")
    assert verified.exit_code == 1
    assert named in verified.stdout
    assert "NOT SOUND" in verified.stdout
    told = box(audit, "verify", "--json")
    assert told.exit_code == 1
    assert json.loads(told.stdout)["problems"]


def test_a_file_that_cannot_be_opened_is_wrong_too(box: Command, home: Path, done: dict[str, int]) -> None:
    (home / FILE).write_bytes(b"no store" * 1000)
    verified = box(audit, "verify")
    assert verified.exit_code == 1
    assert "WRONG: " in verified.stdout


def test_checkpoints_kept_elsewhere_and_witnesses_count(
    box: Command, home: Path, tmp_path: Path, done: dict[str, int]
) -> None:
    box(audit, "key", "--out", str(tmp_path / "log.json"))
    box(audit, "checkpoint", "--out", str(tmp_path / "note.txt"))
    note = (tmp_path / "note.txt").read_text(encoding="utf-8")
    log = msgspec.json.decode((tmp_path / "log.json").read_bytes())
    from akazuba.governance.audit_anchors import read_key

    public = read_key((tmp_path / "log.json").read_bytes(), "key").public
    seer = Witness(
        tmp_path / "w", new_identity(os.urandom), "server", lambda: 2_000_000_000, lambda _: [public]
    )
    with closing(seer):
        (tmp_path / "note.txt").write_text(note + seer.cosign(note), encoding="utf-8")
    (tmp_path / "seer.json").write_bytes(key_file(seer.verifier))
    files = {"--anchors": "note.txt", "--key": "log.json", "--witness": "seer.json"}
    options = [word for option, name in files.items() for word in (option, str(tmp_path / name))]
    facts = answer(box(audit, "verify", "--json", *options))
    assert facts["witnesses"] == ["server"]
    assert facts["since_last_witness"] == facts["since_last_checkpoint"]
    assert log["name"].startswith("akazuba-")


def test_an_old_store_in_place_of_a_later_one_shows(box: Command, home: Path, done: dict[str, int]) -> None:
    old = (home / FILE).read_bytes()
    with opened_store() as made:
        made.add(Entry("note", "box", b"acknowledged"))
    for leftover in home.glob("store.sqlite3*"):
        leftover.unlink()
    (home / FILE).write_bytes(old)
    verified = box(audit, "verify")
    assert verified.exit_code == 1
    assert "rolled back: a checkpoint says" in verified.stdout
    assert "the store lacks entries that it had" in box(store, "patients", "x").stderr
    assert "the store lacks" not in box(store, "patients", "x").stderr, "said once, found by every `verify`"
    assert box(audit, "verify").exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "--anchors", "nowhere.txt"],
        ["verify", "--key", "nowhere.json"],
        ["check", "nowhere.json", "--key", "nowhere.json"],
        ["show", "9999"],
        ["prove", "9999"],
        ["verify", "--anchors", os.devnull],
        ["checkpoint", "--since", "9999"],
    ],
)
def test_unusable_input_is_said_and_ends_with_2(
    box: Command, done: dict[str, int], arguments: list[str]
) -> None:
    refused = box(audit, *arguments)
    assert refused.exit_code == 2
    assert refused.stderr.startswith("error: ")
    assert "Traceback" not in refused.output


def test_a_wrong_passphrase_and_no_store_are_said(
    box: Command, home: Path, tmp_path: Path, done: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AKAZUBA_PASSPHRASE", "not the passphrase")
    wrong = box(audit, "verify")
    assert wrong.exit_code == 2
    assert "error: passphrase: expected the passphrase of this store" in wrong.stderr
    monkeypatch.setenv("AKAZUBA_HOME", str(tmp_path / "empty"))
    none = box(audit, "verify")
    assert none.exit_code == 2
    assert "none: `akazuba store init` makes one" in none.stderr


def test_the_passphrase_is_asked_for_hidden_when_the_environment_has_none(
    box: Command, done: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AKAZUBA_PASSPHRASE")
    asked = box(audit, "verify", stdin=f"{PASS}\n")
    assert asked.exit_code == 0
    assert PASS not in asked.output
    nothing_typed = box(audit, "verify", stdin="")
    assert nothing_typed.exit_code == 2
    assert "one typed, or AKAZUBA_PASSPHRASE" in nothing_typed.stderr


# --- audit show, readers, prove, check, export ---------------------------------------------------------


def test_an_assessment_is_shown_with_why_and_the_look_is_logged(box: Command, done: dict[str, int]) -> None:
    page = box(audit, "show", str(done["assessment"]))
    assert page.exit_code == 0, page.output
    for words in (
        "yellow: rule spo2: SpO2 93 % (WHO IITT 2023)",
        "not assessed: pulse",
        "cough: × 3 (HPO)",
        "model image: 0a1b",
        f"these bytes are entry {done['case']}",
        "what spoke for tuberculosis in film.png",
        "  ██",
    ):
        assert words in page.stdout, words
    (reading,) = answer(box(audit, "readers", "p1", "--json"))
    assert (reading["by"], reading["why"]) == ("passphrase", "shown from the log")


def test_the_overlay_is_drawn_anew_from_the_stored_picture(
    box: Command, tmp_path: Path, done: dict[str, int]
) -> None:
    drawn = box(audit, "show", str(done["assessment"]), "--heatmaps", str(tmp_path / "maps"))
    assert drawn.exit_code == 0, drawn.output
    (path,) = (tmp_path / "maps").iterdir()
    with Image.open(path) as image:
        assert image.size == (640, 640)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    refused = box(audit, "show", str(done["case"]), "--heatmaps", str(tmp_path / "maps"))
    assert refused.exit_code == 2
    assert "an assessment that can be read, found a case" in refused.stderr


def test_an_entry_is_shown_whatever_it_holds(box: Command, done: dict[str, int]) -> None:
    for index in range(done["note"] + 1):
        assert box(audit, "show", str(index)).exit_code == 0
    facts = answer(box(audit, "show", str(done["note"]), "--json"))
    assert facts["body"] == {"hex": b"\xff no JSON".hex()}


def test_nothing_in_an_entry_steers_the_terminal(box: Command, done: dict[str, int]) -> None:
    with opened_store() as made:
        index = made.add(Entry("x\x1b[2J", "y\x1b[2J", '{"a": "\u202e\u2066 \x9b2J"}'.encode()))[0].index
    shown = box(audit, "show", str(index))
    assert shown.exit_code == 0
    assert not set("\x1b\x9b\u202e\u2066") & set(shown.stdout)


def test_the_head_alone_tells_nothing_of_the_patient(box: Command, done: dict[str, int]) -> None:
    shown = box(audit, "show", str(done["case"]), "--head")
    assert "nurse-1" in shown.stdout
    assert "cough" not in shown.stdout
    assert answer(box(audit, "readers", "p1", "--json")) == []


def test_an_erased_entry_says_so(box: Command, done: dict[str, int]) -> None:
    assert box(store, "erase", "p1", "--because", "asked for it", "--yes").exit_code == 0
    shown = box(audit, "show", str(done["case"]))
    assert "what it said was erased with the patient" in shown.stdout
    assert box(audit, "verify").exit_code == 0


def test_a_proof_is_checked_on_another_machine(
    box: Command, tmp_path: Path, done: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    box(audit, "key", "--out", str(tmp_path / "log.json"))
    proof = tmp_path / "proof.json"
    assert box(audit, "prove", str(done["case"]), "--out", str(proof)).exit_code == 0
    monkeypatch.setenv("AKAZUBA_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.delenv("AKAZUBA_PASSPHRASE")
    checked = box(audit, "check", str(proof), "--key", str(tmp_path / "log.json"))
    assert checked.exit_code == 0, checked.output
    assert f"entry {done['case']} is in the log akazuba-" in checked.stdout
    proof.write_bytes(proof.read_bytes().replace(b"nurse-1", b"nurse-2"))
    bent = box(audit, "check", str(proof), "--key", str(tmp_path / "log.json"))
    assert bent.exit_code == 1
    assert bent.stderr.startswith("error: inclusion of entry")
    assert box(audit, "check", str(proof)).exit_code == 2, "without the key nothing is believed"
    assert not (tmp_path / "elsewhere").exists()


def test_the_log_is_carried_away_without_content_and_checked(
    box: Command, tmp_path: Path, done: dict[str, int]
) -> None:
    box(audit, "key", "--out", str(tmp_path / "log.json"))
    out = tmp_path / "log.ndjson"
    assert box(audit, "export", "--out", str(out)).exit_code == 0
    data = out.read_bytes()
    assert b"cough" not in data
    assert b"Uwim" not in data
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    checked = box(audit, "check", str(out), "--key", str(tmp_path / "log.json"))
    assert checked.exit_code == 0, checked.output
    assert "sound" in checked.stdout
    out.write_bytes(data.replace(b"nurse-1", b"nurse-2", 1))
    assert box(audit, "check", str(out), "--key", str(tmp_path / "log.json")).exit_code == 1


def test_a_checkpoint_travels_as_qr_lines_with_the_witnesss_proof(box: Command, done: dict[str, int]) -> None:
    from akazuba.governance.checkpoint import read_checkpoint, read_note
    from akazuba.governance.witness import from_qr_lines
    from akazuba.merkle import verify_consistency

    lines = box(audit, "checkpoint", "--since", "3", "--qr").stdout.split()
    note, proof = from_qr_lines(lines)
    stand = read_checkpoint(read_note(note).text)
    with opened_store(read_only=True) as made:
        from akazuba.merkle import Frontier

        old = Frontier.of(3, made.node).root()
    verify_consistency(3, old, stand.size, stand.root, proof)
    facts = answer(box(audit, "checkpoint", "--since", "3", "--json"))
    assert facts["proof"] == [part.hex() for part in proof]


# --- who may ------------------------------------------------------------------------------------------


def test_once_there_are_users_nobody_acts_without_a_right(box: Command, done: dict[str, int]) -> None:
    with_users()
    index = str(done["case"])
    nobody = box(audit, "show", index)
    assert nobody.exit_code == 2
    assert "--as: expected a user who may see-patients, found nobody" in nobody.stderr
    auditor = box(audit, "show", index, "--as", AUDITOR[0], stdin=f"{AUDITOR[1]}\n")
    assert auditor.exit_code == 2
    assert "auditor may not: find a patient" in auditor.stderr
    assert box(audit, "show", index, "--head", "--as", AUDITOR[0], stdin=f"{AUDITOR[1]}\n").exit_code == 0
    wrong = box(audit, "show", index, "--as", NURSE[0], stdin="0000\n")
    assert wrong.exit_code == 2
    assert "cough" not in wrong.output
    nurse = box(audit, "show", index, "--as", NURSE[0], stdin=f"{NURSE[1]}\n")
    assert "cough" in nurse.stdout
    assert NURSE[1] not in nurse.output
    readers = box(audit, "readers", "p1", "--as", AUDITOR[0], stdin=f"{AUDITOR[1]}\n")
    assert "read chantal: shown from the log" in readers.stdout
    assert box(store, "export", "p1", "--recipient", "h", "--because", "r", "--as", NURSE[0],
               stdin=f"{NURSE[1]}\n").exit_code == 2  # fmt: skip


# --- store --------------------------------------------------------------------------------------------


def test_a_patient_is_found_and_the_search_is_a_read(box: Command, done: dict[str, int]) -> None:
    assert "p1 Uwim\u00e1na Chantal 1990" in box(store, "patients", "UWIMANA").stdout
    assert box(store, "patients", "nobody").stdout == "nobody of that name\n"
    (reading,) = answer(box(audit, "readers", "p1", "--json"))
    assert reading["why"] == "searched by name"


def test_a_record_is_handed_out_with_consent_and_not_after_it_is_withdrawn(
    box: Command, tmp_path: Path, done: dict[str, int]
) -> None:
    out = tmp_path / "p1.json"
    export = ("export", "p1", "--recipient", "hospital", "--because", "referral", "--out", str(out))
    refused = box(store, *export)
    assert refused.exit_code == 2
    assert "export: expected the consent of p1 to it, found nobody agreed to export" in refused.stderr
    assert not out.exists()
    (tmp_path / "text.txt").write_text("Muremera?", encoding="utf-8")
    agreed = box(
        store, "consent", "p1", "--to", "export", "--text", str(tmp_path / "text.txt"),
        "--text-version", "1", "--lang", "rw", "--guardian", "mother",
    )  # fmt: skip
    assert agreed.exit_code == 0, agreed.output
    handed = box(store, *export)
    assert handed.exit_code == 0, handed.output
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert case_from_bundle(json.loads(out.read_bytes())).case["note"] == "cough"
    assert box(store, "withdraw", "p1", "--to", "export", "--guardian", "mother").exit_code == 0
    again = box(store, *export)
    assert again.exit_code == 2
    assert "withdrawn by guardian (mother)" in again.stderr


def test_bad_words_of_consent_are_said(box: Command, tmp_path: Path, done: dict[str, int]) -> None:
    (tmp_path / "text.txt").write_bytes(b"\xff")
    for purpose, text, words in (
        ("everything", "text.txt", "purpose: expected care"),
        ("export", "text.txt", "a text in UTF-8"),
        ("export", "none.txt", "a text in UTF-8"),
    ):
        refused = box(
            store, "consent", "p1", "--to", purpose, "--text", str(tmp_path / text), "--text-version", "1",
            "--lang", "rw",
        )  # fmt: skip
        assert refused.exit_code == 2
        assert words in refused.stderr


def test_erasing_asks_first(box: Command, done: dict[str, int]) -> None:
    for typed in ("n\n", ""):
        kept = box(store, "erase", "p1", "--because", "asked for it", stdin=typed)
        assert kept.exit_code == 2
        assert "confirmation: expected yes" in kept.stderr
    assert box(store, "erase", "p1", "--because", "asked for it", stdin="y\n").exit_code == 0
    assert "unknown or erased" in box(store, "erase", "p1", "--because", "again", "--yes").stderr


def test_a_store_is_set_up_once_and_its_passphrase_changes(
    box: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPM2TOOLS_TCTI", "none")
    made = box(store, "init")
    assert made.exit_code == 0, made.output
    assert "device.secret, which goes with the disk: no TPM was used" in made.output
    assert (home / ANCHORS).exists()
    assert box(store, "init").exit_code == 2
    monkeypatch.setenv("AKAZUBA_NEW_PASSPHRASE", "another passphrase")
    assert box(store, "change-passphrase").exit_code == 0
    assert box(audit, "verify").exit_code == 2
    monkeypatch.setenv("AKAZUBA_PASSPHRASE", "another passphrase")
    assert box(audit, "verify").exit_code == 0


def test_a_copy_is_made_and_becomes_another_devices_store(
    box: Command, tmp_path: Path, done: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AKAZUBA_RECOVERY_PASSPHRASE", PAPER)
    copied = answer(box(store, "backup", str(tmp_path / "copy"), "--json"))
    assert box(store, "backup", str(tmp_path / "copy")).exit_code == 2
    box(store, "erase", "p1", "--because", "asked for it", "--yes")
    monkeypatch.setenv("AKAZUBA_HOME", str(tmp_path / "new"))
    back = answer(box(store, "restore", str(tmp_path / "copy"), "--erased", "p1", "--json"))
    assert back["copied"] == copied["entries"]
    assert back["erased"] == ["p1"]
    assert box(audit, "verify").exit_code == 0, "two keys, one log"
    assert box(store, "restore", str(tmp_path / "copy")).exit_code == 2


def test_a_copy_comes_back_under_the_key_that_signed_its_checkpoint_only(
    box: Command, home: Path, tmp_path: Path, done: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AKAZUBA_RECOVERY_PASSPHRASE", PAPER)
    key = tmp_path / "log.key.json"
    assert box(audit, "key", "--out", str(key)).exit_code == 0
    box(store, "backup", str(tmp_path / "copy"), "--json")
    another = tmp_path / "another"
    monkeypatch.setenv("AKAZUBA_HOME", str(another))
    assert box(store, "init").exit_code == 0
    assert box(audit, "key", "--out", str(tmp_path / "another.key.json")).exit_code == 0

    monkeypatch.setenv("AKAZUBA_HOME", str(tmp_path / "new"))
    words = ("restore", str(tmp_path / "copy"), "--key")
    refused = box(store, *words, str(tmp_path / "another.key.json"))
    assert refused.exit_code == 2
    assert "signatures of" in refused.stderr
    unknown = box(store, *words, str(key), "--erased", "p1", "--erased", "p-mistyped")
    assert unknown.exit_code == 2
    assert "found p-mistyped" in unknown.stderr
    assert not list((tmp_path / "new").glob("store*"))
    assert box(store, *words, str(key), "--erased", "p1").exit_code == 0


@pytest.mark.parametrize(
    ("altered", "named"),
    [
        (lambda said: {**said, "note": said["note"].replace("\n", "\n9", 1)}, "does not verify"),
        (lambda said: {**said, "note": "no note"}, "a newline at its end"),
    ],
)
def test_a_copy_with_another_checkpoint_is_not_restored(
    box: Command,
    key: StoreKey,
    tmp_path: Path,
    done: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
    altered: Callable[[Any], Any],
    named: str,
) -> None:
    """By somebody who holds the store's key, and not the log's."""
    monkeypatch.setenv("AKAZUBA_RECOVERY_PASSPHRASE", PAPER)
    box(store, "backup", str(tmp_path / "copy"), "--json")
    with closing(opened(tmp_path / "copy" / FILE, key.database, read_only=False)) as file:
        (said,) = file.execute("SELECT value FROM remembered WHERE name = 'backup'").fetchone()
        told = json.dumps(altered(json.loads(said))).encode()
        file.execute("UPDATE remembered SET value = ? WHERE name = 'backup'", (told,))
    monkeypatch.setenv("AKAZUBA_HOME", str(tmp_path / "new"))
    refused = box(store, "restore", str(tmp_path / "copy"))
    assert refused.exit_code == 2
    assert named in refused.stderr


def test_an_exchanged_spool_key_is_said_at_unlock_and_logged_when_it_is_put_right(
    box: Command, home: Path, done: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = store_key_file(home)
    other = msgspec.structs.replace(file, spool=StoreKey(bytes(32)).spool_public)
    (home / KEY_FILE).write_bytes(msgspec.json.encode(other))
    refused = box(audit, "key")
    assert refused.exit_code == 2
    assert "it was exchanged on the disk" in refused.stderr
    monkeypatch.setenv("AKAZUBA_NEW_PASSPHRASE", "another passphrase")
    changed = box(store, "change-passphrase")
    assert changed.exit_code == 0
    assert "the right one is back" in changed.stderr
    monkeypatch.setenv("AKAZUBA_PASSPHRASE", "another passphrase")
    with opened_store(read_only=True) as made:
        assert [entry.by for entry in made.entries(kind="spool-key-exchanged")] == ["box"]
    assert box(audit, "verify").exit_code == 0


def test_what_is_left_of_a_damaged_store_is_saved(
    box: Command, home: Path, tmp_path: Path, done: dict[str, int]
) -> None:
    data = bytearray((home / FILE).read_bytes())
    data[16:4096] = bytes(4080)
    (home / FILE).write_bytes(data)
    assert box(store, "patients", "uwimana").exit_code == 2
    out = tmp_path / "saved.ndjson"
    facts = answer(box(store, "salvage", "--out", str(out), "--json"))
    assert facts["readable"] == len(out.read_bytes().splitlines()) > 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_what_was_recorded_while_locked_is_merged_at_unlock(
    box: Command, home: Path, done: dict[str, int]
) -> None:
    Spool(home).add(1_790_000_000_000, "case", "nurse-1", b'{"id": "in the night"}')
    assert box(store, "patients", "uwimana").exit_code == 0
    with opened_store(read_only=True) as made:
        assert [entry.kind for entry in made.entries(kind="locked-case")] == ["locked-case"]
    assert box(audit, "verify").exit_code == 0


def test_a_checkpoint_is_taken_at_the_end_even_when_the_work_failed(
    box: Command, home: Path, done: dict[str, int]
) -> None:
    def work() -> None:
        with opened_store() as made:
            made.add(Entry("note", "box", b"x"))
            raise InputError("work", "to succeed", "it failed")

    with pytest.raises(InputError, match="it failed"):
        work()
    assert answer(box(audit, "verify", "--json"))["since_last_checkpoint"] == 0


def test_two_processes_do_not_write_at_once(box: Command, home: Path, key: StoreKey) -> None:
    with closing(Store(home, key, lambda: 0)):
        refused = box(store, "patients", "x")
    assert refused.exit_code == 2
    assert "no other process that writes to it" in refused.stderr


def test_every_command_has_help_with_an_example() -> None:
    for group in (audit, store):
        for name, command in group.commands.items():
            assert f"Example: akazuba {group.name} {name}" in (command.help or ""), name
