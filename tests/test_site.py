"""What a developer and an organisation sign, and how a box takes it into its log or refuses it."""

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from akazuba.box import open_box
from akazuba.cli.site import site
from akazuba.cli.store import opened_store
from akazuba.governance.course import Duty, happened
from akazuba.governance.drafts import ROSTER, roster_of
from akazuba.governance.responsibility import Configuration, Notice, Release, held, seal
from akazuba.governance.users import PASSPHRASE as BY_PASSPHRASE, add
from akazuba.privacy.keys.store import KeyStore
from akazuba.replay import Installed, installed_digests, versions_now
from akazuba.settings import Settings
from akazuba.storage.unlocking import Cost, set_up

PASS = "a long passphrase"  # noqa: S105 - of this test
RELEASE_NAME = "akazuba 1.0"
RELEASE = {
    "name": RELEASE_NAME,
    "bounds": {"acknowledge_within_s": {"low": 30, "high": 240}},
    "staffing": {"nurse": 1},
    "may": {"decide": ["clinician"]},
}
SHIFT = {"role": "nurse", "least": 1, "begins_min": 0, "ends_min": 1440}
PLACE = {
    "site": "Post 7",
    "organisation": "District",
    "utc_offset_min": 120,
    "thresholds": {"acknowledge_within_s": 120},
    "shifts": [SHIFT],
    "may": {"decide": ["clinician"]},
}
NOTICE = {"what": "a dose is twice too high", "touches": ["hearts-diabetes"]}
Command = Callable[..., Result]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, terminology_home: Path) -> Path:
    """A box's home with an empty store, and the keys of two parties beside it."""
    folder = tmp_path_factory.mktemp("template")
    shutil.copytree(terminology_home, folder / "box")
    set_up(folder / "box", PASS, cost=Cost(32, 1, 1))
    for party in ("developer", "deployer"):
        with closing(KeyStore(folder / f"{party}.keys", lambda: 0)) as kept:
            kept.identity()
    (folder / "release.draft").write_text(json.dumps(RELEASE), encoding="utf-8")
    (folder / "card.md").write_text("# Card", encoding="utf-8")
    words = ("release.draft", "--model-card", "card.md", "--keys", "developer.keys", "--out", "signed")
    with pytest.MonkeyPatch.context() as there:
        there.chdir(folder)
        there.setenv("AKAZUBA_HOME", str(folder / "box"))
        there.setenv("AKAZUBA_ENGINE", "tiny")
        called("sign", "release", *words)
    return folder


@pytest.fixture
def place(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    for name, draft in (("place", PLACE), ("notice", NOTICE)):
        (tmp_path / f"{name}.draft").write_text(json.dumps(draft), encoding="utf-8")
    return tmp_path


@pytest.fixture
def box(place: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`akazuba site`, from within the folder."""
    monkeypatch.setenv("AKAZUBA_HOME", str(place / "box"))
    monkeypatch.setenv("AKAZUBA_PASSPHRASE", PASS)
    monkeypatch.setenv("AKAZUBA_ENGINE", "tiny")
    monkeypatch.chdir(place)
    return called


def called(*arguments: str, code: int = 0, stdin: str | None = None) -> Result:
    done = CliRunner().invoke(site, list(arguments), input=stdin)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def facts(*arguments: str) -> Any:
    return json.loads(called(*arguments, "--json").stdout)


def keyed() -> None:
    for party in ("developer", "deployer"):
        called("key", party, "--keys", f"{party}.keys", "--out", f"{party}.json")
        called("believe", party, f"{party}.json")


def signed_release(out: str = "1.release", name: str = RELEASE_NAME) -> None:
    """Of what is installed, as the command signed it once; under another name it is signed anew."""
    data = Path("signed").read_bytes()
    if name != RELEASE_NAME:
        said = held(data, "release", Release, None).document
        with closing(KeyStore(Path("developer.keys"), lambda: 0)) as kept:
            data = seal(kept.identity(), "release", msgspec.structs.replace(said, name=name))
    Path(out).write_bytes(data)


def signed_place(*more: str, out: str = "1.place", code: int = 0, **changed: object) -> Result:
    Path("place.draft").write_text(json.dumps({**PLACE, **changed}), encoding="utf-8")
    return called(
        *("sign", "configuration", "place.draft", "--release", "1.release"),
        *("--valid-until", "2099-01-01", "--keys", "deployer.keys", "--out", out, *more),
        code=code,
    )


# --- from drafts to what every assessment names ----------------------------------------------------------


def test_what_was_adopted_is_named_by_every_assessment_from_then_on(box: Command, place: Path) -> None:
    keyed()
    signed_release()
    adopted = facts("adopt", "release", "1.release")
    assert adopted["remarks"] == []
    signed_place()
    assert facts("adopt", "configuration", "1.place")["remarks"] == []
    settings = Settings(place / "box", engine="tiny")
    opened_box = open_box(settings)
    with opened_store() as store:
        ran = versions_now(Installed(opened_box, settings, installed_digests(opened_box, settings)), store)
        by = [entry.by for kind in ("release", "configuration") for entry in store.entries(kind=kind)]
    assert ran.release == sha256(Path("1.release").read_bytes()).hexdigest() == adopted["sha256"]
    assert ran.configuration == sha256(Path("1.place").read_bytes()).hexdigest()
    assert by == [BY_PASSPHRASE] * 2
    shown = facts("show", "--installed")
    assert shown["release"]["signature"] == shown["configuration"]["signature"] == "holds"
    assert shown["configuration"]["flaws"] == shown["installed_otherwise"] == []
    words = called("show").stdout
    assert "akazuba 1.0" in words
    assert "Post 7, District" in words


def test_a_release_holds_the_digest_of_all_that_is_installed(box: Command, place: Path) -> None:
    signed_release()
    said = held(Path("1.release").read_bytes(), "release", Release, None).document
    settings = Settings(place / "box", engine="tiny")
    assert said.files == installed_digests(open_box(settings), settings)
    assert said.model_card == sha256(b"# Card").hexdigest()


def test_no_developer_signs_for_the_guidelines_of_a_place(box: Command, place: Path) -> None:
    (place / "box" / "guidelines").mkdir()
    words = ("sign", "release", "release.draft", "--model-card", "card.md", "--keys", "developer.keys")
    assert "only what the developer ships" in called(*words, code=2).stderr


def test_another_installation_than_the_signed_one_is_remarked(box: Command, place: Path) -> None:
    keyed()
    signed_release()
    said = held(Path("1.release").read_bytes(), "release", Release, None).document
    with closing(KeyStore(place / "developer.keys", lambda: 0)) as kept:
        files = {**said.files, "guidelines/news2": "0" * 64}
        other = Release(1, "1.1", 0, files, {}, {}, {}, "0" * 64)
        Path("other").write_bytes(seal(kept.identity(), "release", other))
    assert facts("adopt", "release", "other")["remarks"] == [
        "installed otherwise than signed: guidelines/news2"
    ]
    assert facts("show", "--installed")["installed_otherwise"] == ["guidelines/news2"]


def test_a_notice_is_shown_while_its_release_runs(box: Command) -> None:
    keyed()
    signed_release()
    called("adopt", "release", "1.release")
    words = ("sign", "notice", "notice.draft", "--release", "1.release", "--act-by", "2026-12-15")
    called(*words, "--keys", "developer.keys", "--out", "1.notice")
    called("adopt", "notice", "1.notice")
    (shown,) = facts("show")["notices"]
    assert shown["name"] == NOTICE["what"]
    assert shown["act_by"] == "2026-12-16 00:00:00 UTC"
    said = held(Path("1.notice").read_bytes(), "notice", Notice, None).document
    assert said.release == sha256(Path("1.release").read_bytes()).hexdigest()
    assert "does not hold already" in called("adopt", "notice", "1.notice", code=2).stderr
    signed_release("2.release", "akazuba 1.1")
    called("adopt", "release", "2.release")
    assert facts("show")["notices"] == []


# --- what is refused ---------------------------------------------------------------------------------------


def test_nothing_is_adopted_of_whom_nobody_believes(box: Command) -> None:
    signed_release()
    assert "site believe developer" in called("adopt", "release", "1.release", code=2).stderr
    keyed()
    called("believe", "developer", "deployer.json")
    (shown,) = {key[-64:] for key in facts("show")["believed"].values()}
    assert len(shown) == 64
    assert "a signature that holds" in called("adopt", "release", "1.release", code=2).stderr
    with opened_store() as store:
        assert not list(store.entries(kind="release"))
        told = [json.loads(entry.body or b"")["party"] for entry in store.entries(kind="believed")]
    assert told == ["developer", "deployer", "developer"]


def test_a_document_of_one_kind_is_none_of_another(box: Command) -> None:
    keyed()
    signed_release()
    assert called("adopt", "notice", "1.release", code=2).stderr.startswith(
        "error: notice: expected a signed"
    )
    altered = Path("1.release").read_bytes().replace(b"akazuba 1.0", b"akazuba 9.9")
    Path("altered").write_bytes(altered)
    assert "a signature that holds" in called("adopt", "release", "altered", code=2).stderr


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"thresholds": {"acknowledge_within_s": 900}}, "the developer allows 30 to 240"),
        ({"thresholds": {"another": 1}}, "it is none that a deployer may set"),
        ({"may": {"decide": ["nurse"]}}, "decide is given to nurse"),
        ({"shifts": [{**SHIFT, "begins_min": 420, "ends_min": 420}]}, "a whole day is 0 to 1440"),
        ({"shifts": []}, "0 nurse while the post is open; the developer asks for 1"),
    ],
)
def test_what_the_release_does_not_allow_is_not_signed(
    box: Command, changed: dict[str, object], named: str
) -> None:
    keyed()
    signed_release()
    refused = signed_place(code=2, **changed)
    assert named in refused.stderr
    assert not Path("1.place").exists()


def test_a_configuration_has_to_count_when_it_is_adopted(box: Command) -> None:
    keyed()
    signed_release()
    signed_place()
    assert "a release that was adopted before" in called("adopt", "configuration", "1.place", code=2).stderr
    called("adopt", "release", "1.release")
    signed_place("--valid-from", "2098-01-01", out="coming")
    assert "valid only" in called("adopt", "configuration", "coming", code=2).stderr
    called("adopt", "configuration", "1.place")
    signed_release("2.release", "akazuba 1.1")
    called("adopt", "release", "2.release")
    signed_place(out="again")
    assert "made for release" in called("adopt", "configuration", "again", code=2).stderr
    (flaw,) = facts("show")["configuration"]["flaws"]
    assert flaw.startswith("release: made for release")


def test_local_rules_that_run_unsigned_are_remarked(
    box: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = place / "district.json"
    rules.write_text(json.dumps({"id": "d", "title": "List", "issued_by": "District"}), encoding="utf-8")
    keyed()
    signed_release()
    called("adopt", "release", "1.release")
    signed_place("--overlay", "district.json")
    said = held(Path("1.place").read_bytes(), "configuration", Configuration, None).document
    assert said.overlays == {"district.json": sha256(rules.read_bytes()).hexdigest()}
    remark = "local rules district.json run otherwise than signed"
    assert facts("adopt", "configuration", "1.place")["remarks"] == [remark]
    monkeypatch.setenv("AKAZUBA_OVERLAYS", str(rules))
    assert facts("show")["configuration"]["remarks"] == []


def test_a_role_does_what_it_may(box: Command) -> None:
    keyed()
    signed_release()
    with opened_store() as store:
        add(store, BY_PASSPHRASE, "Jean", "supervisor", "735194")
        add(store, "jean", "Eric", "operator", "604837")
    assert "expected a user who may operate" in called("adopt", "release", "1.release", code=2).stderr
    asked = ("adopt", "release", "1.release", "--as", "Jean")
    assert "supervisor may not" in called(*asked, code=2, stdin="735194\n").stderr
    called(*asked[:-1], "Eric", stdin="604837\n")
    signed_place()
    asked = ("adopt", "configuration", "1.place", "--as", "Eric")
    assert "operator may not" in called(*asked, code=2, stdin="604837\n").stderr
    called(*asked[:-1], "Jean", stdin="735194\n")
    with opened_store() as store:
        by = [entry.by for kind in ("release", "configuration") for entry in store.entries(kind=kind)]
    assert by == ["eric", "jean"]


def test_the_boxs_own_key_signs_for_a_user_who_may_and_the_log_says_so(box: Command) -> None:
    keyed()
    signed_release()
    with opened_store() as store:
        add(store, BY_PASSPHRASE, "Jean", "supervisor", "735194")
    words = ("sign", "configuration", "place.draft", "--release", "1.release")
    words = (*words, "--valid-until", "2099-01-01", "--out", "own")
    assert "a user who may configure" in called(*words, code=2).stderr
    assert not Path("own").exists()
    called(*words, "--as", "Jean", stdin="735194\n")
    with opened_store() as store:
        (entry,) = store.entries(kind="signed")
    assert entry.by == "jean"
    assert json.loads(entry.body or b"")["sha256"] == sha256(Path("own").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "words",
    [
        ("adopt", "release", "nowhere"),
        ("believe", "developer", "card.md"),
        ("sign", "release", "place.draft", "--model-card", "card.md", "--keys", "developer.keys"),
        ("sign", "release", "release.draft", "--model-card", "nowhere", "--keys", "developer.keys"),
        ("sign", "release", "release.draft", "--model-card", "card.md", "--keys", "nowhere"),
        ("sign", "notice", "notice.draft", "--release", "card.md", "--act-by", "2026-12-15"),
        ("key", "two words", "--keys", "developer.keys"),
        ("roster", "card.md"),
    ],
)
def test_what_cannot_be_used_is_said_and_makes_nothing(box: Command, words: tuple[str, ...]) -> None:
    before = set(Path().iterdir())
    assert called(*words, code=2).stderr.startswith("error: ")
    assert set(Path().iterdir()) == before


# --- rosters -----------------------------------------------------------------------------------------------


def test_a_roster_says_who_was_there(box: Command) -> None:
    with opened_store() as store:
        add(store, BY_PASSPHRASE, "Jean", "supervisor", "735194")
        add(store, "jean", "Chantal Uwimana", "nurse", "4071")
    rows = [
        ",".join(ROSTER),
        "Chantal Uwimana,,2026-01-05T07:00+02:00,2026-01-05T19:00+02:00",
        "Dr Locum,clinician,2026-01-05T07:00+02:00,2026-01-05T12:00+02:00",
    ]
    Path("week.csv").write_text("\n".join(rows), encoding="utf-8")
    asked = ("roster", "week.csv", "--as", "Jean")
    done = called(*asked, stdin="735194\n")
    assert "2 shifts are recorded" in done.stdout
    assert "no users of this box: dr-locum" in done.stderr
    with opened_store() as store:
        duties = [it.body for it in happened(store, "duty", Duty, "")]
    begins = 1767589200
    assert duties == [
        Duty("chantal-uwimana", "nurse", begins, begins + 12 * 3600),
        Duty("dr-locum", "clinician", begins, begins + 5 * 3600),
    ]


SHIFTS = "c,nurse,2026-01-05T07:00+02:00,2026-01-05T19:00+02:00"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "line 1: expected user,role,begins,ends"),
        (f"who,role,begins,ends\n{SHIFTS}", "line 1"),
        (",".join(ROSTER), "expected a shift, found none"),
        (f"user,role,begins,ends\n{SHIFTS}\nc,nurse,1", "line 3: expected 4 values"),
        (f"user,role,begins,ends\n{SHIFTS},more", "line 2: expected 4 values"),
        ("user,role,begins,ends\nc,nurse,2026-01-05T07:00,2026-01-05T19:00", "with its offset"),
        ("user,role,begins,ends\nc,nurse,seven,2026-01-05T19:00+02:00", "line 2, begins"),
        ("user,role,begins,ends\nc,nurse,2026-01-05T19:00Z,2026-01-05T07:00Z", "a shift that is over"),
        ("user,role,begins,ends\nc,nurse,2026-01-05T19:00Z,2029-01-05T07:00Z", "a shift that is over"),
        ("user,role,begins,ends\nnobody,,2026-01-05T07:00Z,2026-01-05T19:00Z", "a name and a role"),
        ('user,role,begins,ends\n"c,nurse', "expected CSV"),
    ],
)
def test_a_roster_that_says_something_else_is_refused_whole(box: Command, text: str, named: str) -> None:
    Path("week.csv").write_text(text, encoding="utf-8")
    assert named in called("roster", "week.csv", code=2).stderr
    with opened_store() as store:
        assert not list(store.entries(kind="duty"))


def test_a_shift_in_progress_is_no_shift_that_was() -> None:
    from akazuba.errors import InputError

    text = f"user,role,begins,ends\n{SHIFTS}"
    ends = 1767589200 + 12 * 3600
    assert len(roster_of(text, lambda who: (who, ""), ends)) == 1
    with pytest.raises(InputError, match="a shift that is over"):
        roster_of(text, lambda who: (who, ""), ends - 1)
