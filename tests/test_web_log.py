"""The log's page: what an auditor sees, and that it sees nothing of a patient."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tablet_bench import Tablet, box, entered, page_of, recorded, words

from akazuba.governance.audit_reads import record_reads
from akazuba.governance.witness import from_qr_lines
from akazuba.privacy.accounting import Budget, DiscreteLaplace
from akazuba.privacy.ledger import Ledger, Protection
from akazuba.storage.person import Person
from akazuba.storage.store import Entry
from akazuba.web import charts, log_screen
from akazuba.web.post import Post
from akazuba.web.privacy_screen import grown, read

HIDDEN = "a secret that only her record holds"


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory, terminology_home: Path) -> Iterator[Post]:
    made = box(tmp_path_factory.mktemp("log"), terminology_home)
    asyncio.run(made.records(lambda kept: kept.opened().admit(Person("p-1234567", "Ange Uwase"), "box")))
    entered(made, Entry("case", "chantal-uwimana", f'{{"note":"{HIDDEN}"}}'.encode(), "p-1234567"))
    yield made
    made.close()


@pytest.fixture
def auditor(post: Post) -> Tablet:
    return Tablet(page_of(post)).sign_in("alice-auditor")


def glass(post: Post, who: str = "chantal-uwimana") -> int:
    tablet = Tablet(page_of(post)).sign_in(who)
    given = {"action": "decide", "patient": "p-1234567", "reason": "no clinician in the night here"}
    assert tablet.post("/glass", given).status_code == 200
    return recorded(post, "break-glass")[-1].index


def test_only_an_auditor_reads_the_log(post: Post, auditor: Tablet) -> None:
    assert auditor.get("/log").status_code == 200
    for who in ("chantal-uwimana", "dr-musa", "jean-habimana", "odile-operator"):
        for path in ("/log", "/log/checkpoint"):
            assert Tablet(page_of(post)).sign_in(who).get(path).status_code == 403
    assert Tablet(page_of(post)).get("/log").headers["location"].startswith("/sign-in")
    stranger = Tablet(page_of(post)).post("/log/verify", headers={"Accept": "application/json"})
    assert stranger.status_code == 401


def test_nothing_that_a_patients_entries_hold_is_shown(post: Post, auditor: Tablet) -> None:
    glass(post)
    before = len(recorded(post, "read"))
    seen = auditor.get("/log").text
    assert "p-1234567" in seen
    assert not any(hidden in seen for hidden in (HIDDEN, "Ange", "no clinician in the night"))
    assert len(recorded(post, "read")) == before, "heads are no read of a patient"


def test_the_log_is_verified_on_the_page(auditor: Tablet) -> None:
    assert auditor.post("/log/verify").headers["location"] == "/log#verified"
    assert "SOUND" in words(auditor.get("/log").text)
    assert "NOT SOUND" not in auditor.get("/log").text


def test_an_altered_log_is_shown_as_not_sound(
    post: Post, auditor: Tablet, monkeypatch: pytest.MonkeyPatch
) -> None:
    from akazuba.storage.store import Store

    honest = Store.leaves

    def bent(self: Store, first: int = 0) -> Iterator[tuple[int, bytes]]:
        for index, leaf in honest(self, first):
            yield index, bytes(32) if index == 2 else leaf

    monkeypatch.setattr(Store, "leaves", bent)
    auditor.post("/log/verify")
    seen = words(auditor.get("/log").text)
    assert "NOT SOUND" in seen
    assert "entry 2: altered" in seen


def test_verifying_holds_nobody_up(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the log is being verified, records are written and read."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    honest = log_screen.verify_kept

    async def both() -> bool:
        loop = asyncio.get_running_loop()

        def slow(home: Path, store: object) -> object:
            loop.call_soon_threadsafe(begun.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(timeout=30)
            return honest(home, store)  # type: ignore[arg-type]

        monkeypatch.setattr(log_screen, "verify_kept", slow)
        checking = asyncio.create_task(log_screen._verified(post))
        await begun.wait()
        await post.records(lambda kept: kept.opened().add(Entry("note", "box", b"meanwhile")))
        still = not checking.done()
        go_on.set()
        return still and (await checking).sound

    assert asyncio.run(both())


def test_a_view_beside_cannot_write(post: Post) -> None:
    from akazuba.errors import InputError
    from akazuba.web.beside import beside

    with pytest.raises(InputError, match="opened to read only"):
        asyncio.run(beside(post, lambda store: store.add(Entry("note", "box", b"no"))))


def test_entries_are_counted_by_day_and_kind_and_readers_by_patient(post: Post) -> None:
    def work(kept: object) -> log_screen.Look:
        store = kept.opened()  # type: ignore[attr-defined]
        record_reads(store, ["p-1234567"], "dr-musa", "asked", "all")
        record_reads(store, ["p-1234567"], "dr-musa", "asked again", "all")
        return log_screen.looked(store, None, time.time_ns() // 1_000_000)

    look = asyncio.run(post.records(work))
    assert sum(map(sum, look.per_day.values())) == look.counted == look.size
    assert ("dr-musa", 2, 1) in look.readers
    assert look.per_day["reads"][-1] >= 2


def test_the_first_entry_of_a_day_is_found_by_halving(post: Post) -> None:
    def work(kept: object) -> list[int]:
        store = kept.opened()  # type: ignore[attr-defined]
        at = store.entry(3).at_ms
        first = next(entry.index for entry in store.entries() if entry.at_ms >= at)
        return [log_screen.first_since(store, it) for it in (0, at, 1 << 60)] + [first, store.size]

    nothing, found, end, first, size = asyncio.run(post.records(work))
    assert (nothing, found, end) == (0, first, size)


def test_the_rows_go_back_page_by_page_and_miss_none(post: Post, auditor: Tablet) -> None:
    entered(post, *(Entry("note", "box", b"x") for _ in range(120)))
    size = asyncio.run(post.records(lambda kept: kept.opened().size))
    indexes, path = list[int](), f"/log?before={size}"
    while path:
        seen = auditor.get(path).text
        rows = seen[seen.index('<h2 id="h-rows"') :]
        indexes += [int(row) for row in re.findall(r"<tr><td>(\d+)</td>", rows)]
        older = re.search(r'href="(/log\?before=\d+)', rows)
        path = older[1] if older else ""
    assert indexes == list(range(size - 1, -1, -1))


@pytest.mark.parametrize("before", ["-1", "x", "9" * 30, "٣", "1;DROP TABLE entry"])
def test_a_page_that_is_no_number_is_refused(auditor: Tablet, before: str) -> None:
    assert auditor.get(f"/log?before={before}").status_code == 422


def test_refusals_are_listed_with_their_reason(post: Post, auditor: Tablet) -> None:
    Tablet(page_of(post)).sign_in("chantal-uwimana").get("/staff")
    Tablet(page_of(post)).post("/sign-in", {"user": "dr-musa", "pin": "0000"})
    seen = words(auditor.get("/log").text)
    assert "manage-users" in seen
    assert "a wrong PIN" in seen
    assert "0000" not in seen


def test_the_checkpoint_goes_to_a_witness_as_text_and_as_codes(post: Post, auditor: Tablet) -> None:
    asyncio.run(post.records(lambda kept: kept.checkpoint()))
    seen = auditor.get("/log/checkpoint?since=4").text
    note, codes = (
        re.search(rf'<textarea id="{id_}"[^>]*>(.*?)</textarea>', seen, re.DOTALL)[1]  # type: ignore[index]
        for id_ in ("note", "codes")
    )
    text, proof = from_qr_lines(codes.splitlines())
    assert note.startswith(text)
    assert len(proof) > 0
    assert all(hash_.hex() in note for hash_ in proof)
    assert auditor.get("/log/checkpoint?since=999999").status_code == 422


def test_the_newest_cosigned_checkpoint_is_named_with_its_age(post: Post, auditor: Tablet) -> None:
    assert "No witness has cosigned it yet" in auditor.get("/log").text
    entered(post, Entry("cosigned", "box", msgspec.json.encode({"size": 3, "witnesses": {"district": 1000}})))
    seen = words(auditor.get("/log").text)
    assert "Last seen by a witness: 3 entries, 1970-01-01 00:16 UTC, by district" in seen
    assert "Nobody outside saw it within two weeks" in seen


# --- broken glass ---------------------------------------------------------------------------------------


def test_a_supervisor_looks_into_broken_glass_and_it_goes(post: Post) -> None:
    index = glass(post)
    supervisor = Tablet(page_of(post)).sign_in("jean-habimana")
    before = len(recorded(post, "read"))
    seen = supervisor.get("/glass").text
    assert "no clinician in the night here" in seen
    assert len(recorded(post, "read")) > before, "her look is recorded first"
    assert supervisor.post(f"/glass/{index}/seen", {"note": " "}).status_code == 422
    assert supervisor.post(f"/glass/{index}/seen", {"note": "asked her; right"}).status_code == 303
    assert f'action="/glass/{index}/seen"' not in supervisor.get("/glass").text
    assert supervisor.post(f"/glass/{index}/seen", {"note": "again"}).status_code == 422


def test_nobody_else_sees_broken_glass(post: Post) -> None:
    index = glass(post)
    for who in ("chantal-uwimana", "dr-musa", "alice-auditor"):
        tablet = Tablet(page_of(post)).sign_in(who)
        assert tablet.get("/glass").status_code == 403
        assert tablet.post(f"/glass/{index}/seen", {"note": "mine"}).status_code == 403


# --- privacy --------------------------------------------------------------------------------------------


def test_an_empty_ledger_says_that_nothing_left(post: Post) -> None:
    seen = words(Tablet(page_of(post)).sign_in("chantal-uwimana").get("/privacy").text)
    assert "Nothing has left this box." in seen
    assert Tablet(page_of(post)).get("/privacy").status_code == 303


def test_what_left_and_what_it_cost_is_told_in_words_and_as_a_line(tmp_path: Path) -> None:
    days = iter([86_400.0 * day for day in range(1, 100)])
    with Ledger(tmp_path, lambda: next(days)) as ledger:
        ledger.set_budget(Budget(2, 1e-6, "Jean", "a trial"))
        spent = [ledger.charge(DiscreteLaplace(2.0), "patient", "counts") for _ in range(3)]
        left = ledger.depart("statistics", "district", b"1,2,3", Protection("none"), spent[0])
        ledger.moved(left, "sent")
    known, curve = read(tmp_path, 86_400.0 * 200)
    assert [round(value, 2) for _, value in curve] == [0.5, 1.0, 1.5]
    assert curve[-1][1] == pytest.approx(known.patient_epsilon)
    assert str(charts.steps("", curve, ("a", "b"), 2.0)).count('class="limit"') == 1


def test_a_line_of_what_was_spent_never_falls_though_the_clock_does(tmp_path: Path) -> None:
    times = iter([5e5, 4e5, 1e5, 9e5, 9.1e5, 9.2e5])
    with Ledger(tmp_path, lambda: next(times)) as ledger:
        for _ in range(3):
            ledger.charge(DiscreteLaplace(2.0), "patient", "counts")
        curve = grown(ledger.spends(), 1e-6)
    assert curve == sorted(curve)


@pytest.mark.parametrize("path", ["/federation"])
def test_what_is_not_built_says_so_and_gives_no_figure(post: Post, path: str) -> None:
    seen = Tablet(page_of(post)).get(path).text
    main = words(seen[seen.index("<main") : seen.index("</main>")])
    assert "NOT BUILT YET" in main
    assert not re.search(r"\d", main)


def test_each_role_is_shown_where_it_may_go_and_nowhere_else(post: Post) -> None:
    app = page_of(post)
    for who in ("chantal-uwimana", "dr-musa", "jean-habimana", "alice-auditor", "odile-operator"):
        tablet = Tablet(app).sign_in(who)
        seen = tablet.get("/more").text
        tiles = re.findall(r'class="tile" href="([^"]+)"', seen)
        assert "/me" in tiles
        assert all(tablet.get(tile).status_code == 200 for tile in tiles)
        others = {"/log", "/glass", "/staff", "/pictures"} - set(tiles)
        assert all(tablet.get(other).status_code == 403 for other in others)


# --- charts ---------------------------------------------------------------------------------------------


def test_a_chart_says_no_more_than_it_was_given() -> None:
    assert "<script" not in charts.bars("<script>x", ["<script>"], {"a": [1.0]})
    assert charts.bars("", [], {}).count("<rect") == 0
    assert charts.bars("", ["a", "b"], {"x": [0.0, 2.0], "y": [1.0, 2.0]}).count("<rect") == 3
