"""Who contributed to a harm: each cause is named by what the log holds, nobody is blamed without."""

from __future__ import annotations

import html
import io
import json
import random
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from akazuba.box import open_box
from akazuba.cli.incident import incident as incident_command
from akazuba.consult import assess
from akazuba.errors import InputError, UntrustedError
from akazuba.governance import course
from akazuba.governance.audit_anchors import key_file, last_note, log_keys
from akazuba.governance.checkpoint import Verifier
from akazuba.governance.decisions import Open, Versions, record_consultation
from akazuba.governance.incident_causes import overlays_named
from akazuba.governance.incident_dossier import Believed, Dossier, dossier
from akazuba.governance.incident_findings import Evidence
from akazuba.governance.incident_pdf import as_pdf, installed_fonts
from akazuba.governance.incident_replay import Replayed, Then, Unavailable, differences, other_advice
from akazuba.governance.incident_report import as_html, as_json, as_text
from akazuba.governance.incidents import (
    NOT_A_FINDING,
    Attribution,
    attribute,
    incidents,
    named,
    report_incident,
)
from akazuba.governance.responsibility import believing
from akazuba.governance.users import PASSPHRASE as BY_PASSPHRASE, add
from akazuba.intake.cases import case_line
from akazuba.privacy.keys.identity import new_identity
from akazuba.records import Assessment, Triage
from akazuba.replay import Installed, installed_digests, versions_now
from akazuba.settings import Settings
from akazuba.storage import file as store_file
from akazuba.storage.person import Person
from akazuba.storage.store import Store
from akazuba.storage.unlocking import FILE, unlocked

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import incident_stories as plants
from seeded_incidents import CLINICIAN, NURSE, Post, cases, enacted, planted, post

PASSPHRASE = "a passphrase of the day"  # noqa: S105 - of this test
RED = {
    "id": "c1",
    "patient": {"age_years": 40, "sex": "male"},
    "vitals": {"heart_rate_bpm": 160, "spo2_percent": 97, "temperature_c": 37, "respiratory_rate_bpm": 18}
    | {"consciousness": "alert"},
}
"""Red by one rule: a heart rate over 150."""


@pytest.fixture(scope="module")
def rules(terminology_home: Path) -> plants.Rules:
    return plants.Rules(terminology_home)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("post")


@pytest.fixture(scope="module")
def a_post(home: Path) -> Iterator[Post]:
    with post(home) as made:
        yield made


@pytest.fixture(scope="module")
def pool() -> list[plants.Case]:
    """Acute cases, among them chronic ones that start the medicine of the one edit below."""
    return cases(random.Random(1))[:200]


@pytest.fixture(autouse=True)
def one_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other file of local rules costs the opening of a library."""
    monkeypatch.setattr(plants, "EDITS", plants.EDITS[:1])


@pytest.fixture
def number(request: pytest.FixtureRequest) -> int:
    """Of a story that no other test tells."""
    module = request.module
    module.told = getattr(module, "told", 0) + 1
    return int(module.told)


@pytest.fixture
def story(number: int) -> plants.Story:
    return plants.Story(number, json.loads(json.dumps(RED)))


def file_of(here: Post, index: int, believed: Believed | None = None) -> Dossier:
    assessment, incident, what = named(here.store, str(index))
    return dossier(here.store, assessment, believed or here.believed, incident, what)


def kinds(said: Attribution) -> list[str]:
    return [cause.kind for cause in said.causes]


# --- each cause -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", plants.CAUSES)
def test_a_planted_cause_is_named_alone_with_its_party(
    cause: str, number: int, a_post: Post, rules: plants.Rules, pool: list[plants.Case]
) -> None:
    told = planted((plants.CAUSES[cause],), number, pool[:], rules, random.Random(cause))
    said = a_post.attributed(str(enacted(a_post, rules, told)), rules)
    assert {(it.kind, it.level) for it in said.causes} == told.truth
    assert all(it.evidence and it.evidence[0].entries and it.rebuttal for it in said.causes)


@pytest.mark.parametrize("pair", plants.PAIRS)
def test_two_causes_are_named_as_two_in_the_order_of_the_consultation(
    pair: tuple[plants.Plant, ...], number: int, a_post: Post, rules: plants.Rules, pool: list[plants.Case]
) -> None:
    told = planted(pair, number, pool[:], rules, random.Random(len(pair)))
    said = a_post.attributed(str(enacted(a_post, rules, told)), rules)
    assert {(it.kind, it.level) for it in said.causes} == told.truth
    assert "more contributed" in said.conclusion


def test_without_a_divergence_it_was_the_guideline_or_chance(
    story: plants.Story, a_post: Post, rules: plants.Rules
) -> None:
    said = a_post.attributed(str(enacted(a_post, rules, story)), rules)
    assert (said.causes, said.unchecked, said.replay) == ((), (), "the same output")
    assert said.conclusion.endswith("the guideline itself, or chance.")


@pytest.mark.parametrize("innocent", plants.INNOCENT_PLANTS)
def test_what_changed_nothing_is_noted_and_blames_nobody(
    innocent: plants.Plant, story: plants.Story, a_post: Post, rules: plants.Rules
) -> None:
    assert innocent(story, rules, random.Random(1))
    said = a_post.attributed(str(enacted(a_post, rules, story)), rules)
    assert said.causes == ()
    assert said.noted or innocent is plants.other_notice


def test_a_release_that_the_developer_did_not_sign_is_the_deployers(
    story: plants.Story, a_post: Post, rules: plants.Rules
) -> None:
    index = enacted(a_post, rules, story)
    strange = Believed(believing(a_post.box.public), a_post.believed.deployer)
    said = attribute(file_of(a_post, index, strange), rules.replay)
    assert [(it.kind, it.level) for it in said.causes] == [("release-unsigned", "deployer")]


def test_another_formulary_than_signed_is_the_deployers(
    story: plants.Story, a_post: Post, rules: plants.Rules
) -> None:
    story.site["formulary"] = sha256(b"signed").hexdigest()
    file = file_of(a_post, enacted(a_post, rules, story))
    assert file.basis
    ran = msgspec.structs.replace(file.basis.ran, formulary=sha256(b"ran").hexdigest())
    said = attribute(replace(file, basis=msgspec.structs.replace(file.basis, ran=ran)), rules.replay)
    assert kinds(said) == ["formulary-altered"]


def test_who_was_not_there_is_not_blamed_for_an_alarm(
    story: plants.Story, a_post: Post, rules: plants.Rules
) -> None:
    story.answered_s = None
    file = file_of(a_post, enacted(a_post, rules, story))
    (ignored,) = attribute(file, rules.replay).causes
    assert (ignored.kind, ignored.level) == ("alarm-ignored", "clinician")
    assert CLINICIAN[0] in ignored.says
    later = tuple(replace(it, body=course.Duty(*CLINICIAN, 10**10, 10**10 + 1)) for it in file.duty)
    (unstaffed,) = attribute(replace(file, duty=later), rules.replay).causes
    assert (unstaffed.kind, unstaffed.level) == ("no-staff", "deployer")


def test_an_answer_counts_by_the_clock_of_the_boot_when_it_is_known(
    story: plants.Story, a_post: Post, rules: plants.Rules
) -> None:
    """A wall clock that was set forward makes nobody late."""
    file = file_of(a_post, enacted(a_post, rules, story))
    (answer,) = file.acknowledged
    late = replace(file, acknowledged=(replace(answer, at_ms=answer.at_ms + 10**7),))
    assert attribute(late, rules.replay).causes == ()
    unknown = replace(late.acknowledged[0], body=course.Acknowledged(file.index))
    assert kinds(attribute(replace(late, acknowledged=(unknown,)), rules.replay)) == ["alarm-ignored"]


# --- what cannot be known is said -----------------------------------------------------------------------


def test_an_answer_from_before_the_alarm_shows_nothing(
    story: plants.Story, a_post: Post, rules: plants.Rules
) -> None:
    file = file_of(a_post, enacted(a_post, rules, story))
    unknown = [replace(it, body=msgspec.structs.replace(it.body, waited_s=None)) for it in file.acknowledged]
    early = tuple(replace(it, at_ms=file.alarms[0].at_ms - 86_400_000) for it in unknown)
    said = attribute(replace(file, acknowledged=early, standing=None), rules.replay)
    assert not said.causes
    assert any("the box's clock was set back" in it for it in said.unchecked)


def test_local_rules_are_replayed_in_the_order_in_which_they_ran(
    story: plants.Story, a_post: Post, rules: plants.Rules
) -> None:
    file = replace(file_of(a_post, enacted(a_post, rules, story)), overlays={"aa": b"first", "bb": b"second"})
    assert overlays_named(file, {"z.json": "aa", "a.json": "bb"}) == (b"first", b"second")


def test_versions_that_are_gone_are_said_to_be_gone(
    story: plants.Story, a_post: Post, rules: plants.Rules
) -> None:
    story.corrections.append(("vitals.heart_rate_bpm", 90, "the monitor"))
    file = file_of(a_post, enacted(a_post, rules, story))
    said = attribute(file, lambda _: Unavailable("iitt 2019 is not installed"))
    assert said.replay == "not possible: iitt 2019 is not installed"
    assert kinds(said) == ["input-wrong"]
    assert not said.causes[0].shown
    assert any("iitt 2019" in it for it in said.unchecked)


def test_local_rules_that_the_log_lacks_cannot_be_replayed(
    story: plants.Story, a_post: Post, rules: plants.Rules
) -> None:
    assert plants.idle_overlay(story, rules, random.Random(1))
    file = replace(file_of(a_post, enacted(a_post, rules, story)), overlays={})
    said = attribute(file, rules.replay)
    assert "the log holds no local rules district.json" in said.replay


@pytest.mark.parametrize(
    ("without", "says"),
    [
        ({"basis": None, "release": None, "configuration": None}, "which files ran isn't recorded"),
        ({"release": None}, "is not in the log"),
        ({"configuration": None}, "is not in the log"),
        ({"alarms": ()}, "no alarm is recorded for a red patient"),
        ({"standing": Open(0)}, "nobody signed a decision"),
        ({"standing": Open(0, {7: "forged"})}, "the decision at entry 7 does not count: forged"),
    ],
)
def test_what_is_missing_is_listed_and_blames_nobody(
    without: dict[str, object], says: str, story: plants.Story, a_post: Post, rules: plants.Rules
) -> None:
    file = file_of(a_post, enacted(a_post, rules, story))
    said = attribute(replace(file, **without), rules.replay)  # type: ignore[arg-type]
    assert said.causes == ()
    assert any(says in it for it in said.unchecked)
    assert "points could not" in said.conclusion


def test_without_keys_signatures_are_said_to_be_unchecked(
    story: plants.Story, a_post: Post, rules: plants.Rules
) -> None:
    said = attribute(file_of(a_post, enacted(a_post, rules, story), Believed()), rules.replay)
    assert said.causes == ()
    assert len([it for it in said.unchecked if "nobody said whose signature" in it]) == 2


def test_an_override_without_an_outcome_is_open(
    story: plants.Story, a_post: Post, rules: plants.Rules
) -> None:
    story.choice, story.reason = "refuse", "known to me"
    file = replace(file_of(a_post, enacted(a_post, rules, story)), outcomes=())
    said = attribute(file, rules.replay)
    assert said.causes == ()
    assert "no outcome is known" in said.unchecked[-1]


# --- the records themselves -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["case", "assessment", "decision", "configuration"])
def test_altered_records_blame_nobody_but_their_keeper(
    kind: str, tmp_path: Path, story: plants.Story, rules: plants.Rules
) -> None:
    with post(tmp_path) as here:
        index = enacted(here, rules, story)
        (at,) = (it.index for it in here.store.entries(kind=kind))
    key = unlocked(tmp_path / "box", PASSPHRASE)
    with closing(store_file.opened(tmp_path / "box" / FILE, key.database, read_only=False)) as file:
        file.execute("DROP TRIGGER entry_update")
        file.execute("UPDATE entry SET stored = CAST(stored || x'00' AS BLOB) WHERE idx = ?", (at,))
    with post_again(tmp_path, here) as again:
        said = again.attributed(str(index), rules)
        assert kinds(said) == ["record-altered"]
        assert said.causes[0].evidence[0].entries == (at,)
        assert (said.case_id, said.replay) == ("", "none")


def test_a_missing_entry_is_seen(tmp_path: Path, story: plants.Story, rules: plants.Rules) -> None:
    with post(tmp_path) as here:
        index = enacted(here, rules, story)
        (at,) = (it.index for it in here.store.entries(kind="acknowledged"))
    key = unlocked(tmp_path / "box", PASSPHRASE)
    with closing(store_file.opened(tmp_path / "box" / FILE, key.database, read_only=False)) as file:
        file.execute("DROP TRIGGER entry_delete")
        file.execute("DELETE FROM entry WHERE idx = ?", (at,))
    with post_again(tmp_path, here) as again:
        assert kinds(again.attributed(str(index), rules)) == ["record-altered"]


@contextmanager
def post_again(folder: Path, before: Post) -> Iterator[Post]:
    with closing(Store(folder / "box", unlocked(folder / "box", PASSPHRASE), before.clock)) as store:
        yield replace(before, store=store)


def test_entries_are_held_against_a_signed_checkpoint(
    story: plants.Story, a_post: Post, rules: plants.Rules
) -> None:
    index = enacted(a_post, rules, story)
    assessment = named(a_post.store, str(index))[0]
    note, keys = last_note(a_post.store), log_keys(a_post.store)
    held = dossier(a_post.store, assessment, a_post.believed, note=note, verifiers=keys).inclusion
    assert held.problems == {}
    assert held.anchored < len(held.entries)
    strange = [Verifier(keys[0].name, new_identity(random.Random(2).randbytes).public)]
    with pytest.raises(UntrustedError):
        dossier(a_post.store, assessment, a_post.believed, note=note, verifiers=strange)


# --- naming and reporting -----------------------------------------------------------------------------------


def test_an_incident_is_found_by_its_index_its_assessment_and_its_case(
    story: plants.Story, a_post: Post, rules: plants.Rules
) -> None:
    story.case["id"] = "only-once"
    index = enacted(a_post, rules, story)
    found = named(a_post.store, str(index))
    assert found == named(a_post.store, str(found[0])) == named(a_post.store, "only-once")
    assert found[1:] == (index, "came back worse")


@pytest.mark.parametrize("name", ["", "nobody", "-1", "0", "99999999", "9" * 40, "²"])
def test_what_names_no_incident_is_refused(name: str, a_post: Post) -> None:
    with pytest.raises(InputError):
        named(a_post.store, name)


def test_an_erased_patients_incident_stays_listed_and_is_not_attributed(
    story: plants.Story, a_post: Post, rules: plants.Rules
) -> None:
    index = enacted(a_post, rules, story)
    assessment = named(a_post.store, str(index))[0]
    a_post.store.erase(f"patient-{story.number}", "supervisor", "asked for it")
    assert (index, None) in [(entry.index, said) for entry, said in incidents(a_post.store)]
    for ask in (
        lambda: file_of(a_post, index),
        lambda: report_incident(a_post.store, "x", assessment, "what"),
    ):
        with pytest.raises(InputError, match="erased"):
            ask()


def test_an_incident_says_what_went_wrong(story: plants.Story, a_post: Post, rules: plants.Rules) -> None:
    assessment = named(a_post.store, str(enacted(a_post, rules, story)))[0]
    for what in ("", "  x ", "x" * 5000):
        with pytest.raises(InputError):
            report_incident(a_post.store, "x", assessment, what)
    with pytest.raises(InputError, match="an assessment"):
        report_incident(a_post.store, "x", 0, "came back worse")


def test_the_same_dossier_gives_the_same_report(
    story: plants.Story, a_post: Post, rules: plants.Rules
) -> None:
    story.answered_s, story.choice = None, "refuse"
    file = file_of(a_post, enacted(a_post, rules, story))
    one, two = attribute(file, rules.replay), attribute(file, rules.replay)
    assert (as_json(one), as_html(one)) == (as_json(two), as_html(two))
    assert msgspec.json.decode(as_json(one), type=Attribution) == one


@pytest.fixture
def hostile(story: plants.Story, a_post: Post, rules: plants.Rules) -> Attribution:
    story.answered_s = None
    file = file_of(a_post, enacted(a_post, rules, story))
    said = attribute(replace(file, what="<script>alert(1)</script>\x00\u202e&"), rules.replay)
    (cause,) = said.causes
    return msgspec.structs.replace(
        said, patient='"><img src=x onerror=y>', causes=(msgspec.structs.replace(cause, says="<b>bold</b>"),)
    )


def test_the_page_escapes_whatever_comes_from_the_records(hostile: Attribution) -> None:
    page = as_html(hostile)
    seen: set[str] = set()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, _: seen.add(tag)  # type: ignore[method-assign]
    parser.feed(page)
    assert seen.isdisjoint({"script", "img", "b", "a", "link", "iframe"})
    assert "\x00" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page.replace("http-equiv", "")


def test_every_form_of_the_report_says_that_it_is_no_legal_finding(hostile: Attribution) -> None:
    assert NOT_A_FINDING in as_text(hostile)
    assert NOT_A_FINDING in as_html(hostile)
    assert json.loads(as_json(hostile))["disclaimer"] == NOT_A_FINDING


# --- as PDF -------------------------------------------------------------------------------------------------


def pdf_text(data: bytes) -> str:
    """All that a reader of PDF finds, without white space, which a line's end may change."""
    pypdf = pytest.importorskip("pypdf", reason="takes pypdf")
    pages = pypdf.PdfReader(io.BytesIO(data)).pages
    footers = re.compile(r"Assessment [0-9]+, page [0-9]+\. Not a legal finding\.")
    return "".join(footers.sub("", page.extract_text()) for page in pages).translate(BLANK)


BLANK = {ord(character): None for character in " \n\t\0\N{NO-BREAK SPACE}"}
"""NUL too: pypdf reads one before each glyph of a font with PostScript outlines (poppler does not)."""


def leaves(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for it in value.values() if isinstance(value, dict) else value:
            yield from leaves(it)


def test_the_pdf_says_all_that_the_page_says_as_text(hostile: Attribution) -> None:
    pytest.importorskip("fpdf", reason="takes the extra `report`")
    evidence = Evidence("digests differ", (1, 2), {"image/encoder": "ab" * 32}, "release.files")
    cause = msgspec.structs.replace(hostile.causes[0], evidence=(evidence,))
    said = msgspec.structs.replace(
        hostile, causes=(cause, cause), noted=("a rule ran",), unchecked=("no key",)
    )
    text, page = pdf_text(as_pdf(said)), html.unescape(as_html(said))
    assert NOT_A_FINDING.translate(BLANK) in text
    texts = [*leaves(msgspec.to_builtins(said)), *evidence.digests, "entries 1, 2", "2. alarm-ignored"]
    assert len(texts) > 20
    for words in texts:
        assert words.replace("\0", r"\u0000").replace("\u202e", r"\u202e").translate(BLANK) in text
        assert words.split("\0")[0].translate(BLANK) in re.sub("</?bdi>", "", page).translate(BLANK)


def test_what_cannot_be_shown_stands_in_the_pdf_as_its_escape(hostile: Attribution) -> None:
    pytest.importorskip("fpdf", reason="takes the extra `report`")
    odd = "a\u00adb {nb} \u202emirrored\u202c \u0645\u0631 \u0915\u093f \x07 \U0001f9ea \ud7ff end"
    text = pdf_text(as_pdf(msgspec.structs.replace(hostile, what=odd)))
    assert r"a\u00adb{nb}\u202emirrored\u202c\u0645\u0631\u0915\u093f\u0007\U0001f9ea\ud7ffend" in text


def test_long_words_and_many_pages_are_wrapped_and_none_is_lost(hostile: Attribution) -> None:
    pytest.importorskip("fpdf", reason="takes the extra `report`")
    word, lines = "0123456789abcdef" * 100, "\n".join(f"line {number}." for number in range(300))
    text = pdf_text(as_pdf(msgspec.structs.replace(hostile, what=f"{word}\n{lines}")))
    assert word in text
    assert all(f"line{number}." in text for number in range(300))


def test_a_script_is_shown_where_a_font_has_it(hostile: Attribution) -> None:
    pytest.importorskip("fpdf", reason="takes the extra `report`")
    ideographs = [path for path in installed_fonts() if "CJK" in path.name or path.name.startswith("wqy")]
    said = msgspec.structs.replace(hostile, what="Fièvre, лихорадка, 发热")
    alone = [path for path in installed_fonts() if path not in ideographs]
    assert r"Fièvre,лихорадка,\u53d1\u70ed" in pdf_text(as_pdf(said, alone))
    if ideographs:
        assert "Fièvre,лихорадка,发热" in pdf_text(as_pdf(said))
    with pytest.raises(InputError, match="a font"):
        as_pdf(said, [])


def test_without_the_extra_the_pdf_names_it(hostile: Attribution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fpdf", None)
    with pytest.raises(InputError, match="the extra `report`"):
        as_pdf(hostile)


# --- replay -------------------------------------------------------------------------------------------------


def test_a_difference_in_the_last_digits_is_none() -> None:
    one = Assessment("c1", triage=Triage("red"), coverage=0.9)
    assert differences(one, Assessment("c1", triage=Triage("red"), coverage=0.9 + 1e-9)) == []
    assert differences(one, Assessment("c1", triage=Triage("red"), coverage=0.8)) != []
    assert differences(one, Assessment("c1", triage=Triage("red"))) == []
    assert differences(Assessment("c1", triage=Triage("red")), one) == [
        "coverage: not recorded, and replayed"
    ]
    assert other_advice(one, Assessment("c1", triage=Triage("green"))) == ["level: red or green"]


@pytest.fixture(scope="module")
def installed(terminology_home: Path) -> Installed:
    settings = Settings(terminology_home, engine="tiny")
    box = open_box(settings)
    return Installed(box, settings, installed_digests(box, settings))


def test_the_whole_consultation_is_replayed_to_the_same_output(installed: Installed) -> None:
    case = json.dumps(RED).encode()
    first = installed.replay(Then(case, {}, installed.digests, ()))
    again = installed.replay(Then(case, {}, installed.digests, ()))
    assert isinstance(first, Replayed)
    assert isinstance(again, Replayed)
    assert differences(first.assessment, again.assessment) == []
    assert first.assessment.differential


def test_only_the_versions_that_were_asked_for_are_replayed(installed: Installed) -> None:
    other = {**installed.digests, "guidelines/news2": sha256(b"another").hexdigest()}
    answer = installed.replay(Then(json.dumps(RED).encode(), {}, other, ()))
    assert isinstance(answer, Unavailable)
    assert answer.why.startswith("guidelines/news2 was")
    assert isinstance(installed.replay(Then(b"{", {}, installed.digests, ())), Unavailable)


def test_a_case_whose_picture_was_not_stored_is_replayed_by_rules_alone(installed: Installed) -> None:
    case = json.dumps({**RED, "images": [{"path": "/etc/passwd", "kind": "chest-xray"}]}).encode()
    answer = installed.replay(Then(case, {}, installed.digests, ()))
    assert isinstance(answer, Replayed)
    assert answer.assessment.differential is msgspec.UNSET
    assert answer.left_out == ("images and ranking: /etc/passwd was not stored",)


def test_every_guideline_has_its_own_digest(installed: Installed) -> None:
    assert {
        "program",
        "guidelines/news2",
        "guidelines/data",
        "knowledge",
        "language",
    } <= installed.digests.keys()
    assert all(len(digest) == 64 for digest in installed.digests.values())


def test_what_runs_now_names_the_newest_documents_and_keeps_the_local_rules(
    story: plants.Story, a_post: Post, rules: plants.Rules, installed: Installed, tmp_path: Path
) -> None:
    enacted(a_post, rules, story)
    rule = tmp_path / "district.json"
    rule.write_bytes(
        json.dumps({"id": f"d-{story.number}", "title": "List", "issued_by": "District"}).encode()
    )
    here = replace(installed, settings=replace(installed.settings, overlays=(rule,)))
    before = a_post.store.size
    ran = versions_now(here, a_post.store)
    assert ran == versions_now(here, a_post.store)
    assert a_post.store.size == before + 1
    (release,) = list(a_post.store.entries(kind="release"))[-1:]
    assert ran.release == sha256(release.body or b"").hexdigest()
    assert ran.overlays == {"district.json": sha256(rule.read_bytes()).hexdigest()}
    gone = replace(installed, settings=replace(installed.settings, overlays=(tmp_path / "none.json",)))
    with pytest.raises(InputError, match="local rules"):
        versions_now(gone, a_post.store)


# --- the commands -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def box_home(tmp_path_factory: pytest.TempPathFactory, terminology_home: Path, installed: Installed) -> Path:
    """Of a post with one consultation that was recorded with what is installed."""
    folder = tmp_path_factory.mktemp("commands")
    with post(folder) as here:
        here.store.admit(Person("p1", "Patient"), "clerk")
        case = json.dumps(RED).encode()
        said = msgspec.json.encode(assess(installed.box, case_line(case, "c1")))
        record_consultation(here.store, case, said, NURSE[0], "p1", Versions(files=installed.digests))
    key = key_file(Verifier("dev", here.developer.public))
    (folder / "box" / "developer.key.json").write_bytes(key)
    shutil.copytree(terminology_home, folder / "box", dirs_exist_ok=True)
    return folder / "box"


@pytest.fixture
def command(box_home: Path) -> Callable[..., str]:
    environment = {
        "AKAZUBA_HOME": str(box_home),
        "AKAZUBA_PASSPHRASE": PASSPHRASE,
        "AKAZUBA_ENGINE": "tiny",
        "AKAZUBA_LLM": "off",
    }

    def run(*arguments: str, code: int = 0, home: Path = box_home, typed: str | None = None) -> str:
        env = {**environment, "AKAZUBA_HOME": str(home)}
        result = CliRunner(env=env).invoke(incident_command, list(arguments), input=typed)
        assert result.exit_code == code, result.output
        return result.output

    return run


def test_the_commands_report_list_and_attribute(command: Callable[..., str], tmp_path: Path) -> None:
    assert command("list") == "no incident is recorded\n"
    told = command("report", "3", "--what", "came back in shock")
    index = told.split()[1]
    assert json.loads(command("list", "--json"))[0]["assessment"] == 3
    page, paper = tmp_path / "incident.html", tmp_path / "incident.pdf"
    pytest.importorskip("fpdf", reason="takes the extra `report`")
    answer = command("attribute", index, "--json", "--html", str(page), "--pdf", str(paper))
    said = msgspec.json.decode(answer, type=Attribution)
    assert "cameback" in pdf_text(paper.read_bytes())
    assert stat.S_IMODE(paper.stat().st_mode) == 0o600
    assert (said.what, said.replay) == ("came back in shock", "the same output")
    assert said.causes == ()
    assert "came back in shock" in page.read_text(encoding="utf-8")


def test_commands_refuse_what_they_cannot_use(command: Callable[..., str], box_home: Path) -> None:
    assert command("attribute", "99", code=2).startswith("error: entry 99")
    assert command("attribute", "nobody", code=2).startswith("error: incident")
    assert command("report", "0", "--what", "came back", code=2).startswith("error: entry 0")
    key = (box_home / "developer.key.json").read_bytes()
    (box_home / "developer.key.json").write_bytes(b"no key")
    assert "a key file" in command("attribute", "c1", code=2)
    (box_home / "developer.key.json").write_bytes(key)


def test_with_users_only_who_may_see_patients_reads_incidents(
    command: Callable[..., str], box_home: Path
) -> None:
    home = box_home.parent / "peopled"
    shutil.copytree(box_home, home)
    with closing(Store(home, unlocked(home, PASSPHRASE), lambda: 0)) as store:
        add(store, BY_PASSPHRASE, "Jean", "supervisor", "735194")
        add(store, "jean", "Eric", "operator", "604837")
    for words in (["list"], ["attribute", "c1"], ["report", "3", "--what", "came back"]):
        assert "a user who may see-patients" in command(*words, code=2, home=home)
        assert "operator may not" in command(*words, "--as", "Eric", code=2, home=home, typed="604837\n")
    command("report", "3", "--what", "came back", "--as", "Jean", home=home, typed="735194\n")
    with closing(Store(home, unlocked(home, PASSPHRASE), lambda: 0)) as store:
        assert [entry.by for entry in store.entries(kind="incident")][-1] == "jean"


def test_a_page_that_cannot_be_written_is_said(command: Callable[..., str], tmp_path: Path) -> None:
    assert command("attribute", "c1", "--html", str(tmp_path), code=2).startswith("error: ")
    assert command("attribute", "c1", "--pdf", str(tmp_path / "no" / "x"), code=2).startswith("error: --pdf")
