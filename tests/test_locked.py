"""What a locked box recorded becomes consultations like any other, once, and is erased with its patient."""

from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from akazuba.governance import locked
from akazuba.governance.decisions import Versions, basis_of
from akazuba.governance.locked import recorded_already, spool, take_in
from akazuba.records import Assessment, Provenance, Triage
from akazuba.storage.person import Person
from akazuba.storage.spool import Spool, merge
from akazuba.storage.store import Store
from akazuba.storage.unlocking import Cost, StoreKey, set_up

PASSPHRASE = "a long enough passphrase"  # noqa: S105
RAN = Versions(files={"program": "a" * 64})
PERSON = Person("p-000001", "", "", "female")


@pytest.fixture
def key(tmp_path: Path) -> StoreKey:
    return set_up(tmp_path, PASSPHRASE, cost=Cost(64, 1, 1))


@pytest.fixture
def store(tmp_path: Path, key: StoreKey) -> Iterator[Store]:
    with closing(Store(tmp_path, key, lambda: 1)) as opened:
        yield opened


def _case(id_: str, image: str = "") -> tuple[bytes, bytes]:
    case = {"id": id_, "images": [{"path": image, "kind": "skin-photo"}] if image else []}
    data = msgspec.json.encode(case)
    told = Assessment(id_, triage=Triage("red"), provenance=Provenance(sha256(data).hexdigest()))
    return data, msgspec.json.encode(told)


def _spooled(home: Path, id_: str, person: Person = PERSON) -> None:
    spool(Spool(home), person, "unknown", 5, *_case(id_, "skin.jpg"), {"skin.jpg": b"picture"}, RAN)


def test_a_sealed_consultation_is_recorded_with_its_pictures_and_what_ran(
    tmp_path: Path, store: Store, key: StoreKey
) -> None:
    _spooled(tmp_path, "c-000001")
    merge(tmp_path, store, key)
    (index,) = take_in(store)
    entry = store.entry(index)
    assert (entry.kind, entry.patient) == ("assessment", "p-000001")
    assert store.person("p-000001").name == "unregistered 000001"
    basis = basis_of(store, entry)
    assert basis.ran == RAN
    assert store.entry(basis.pictures["skin.jpg"]).body == b"picture"


def test_it_is_taken_in_once_though_the_box_is_cut_off_between(
    tmp_path: Path, store: Store, key: StoreKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    _spooled(tmp_path, "c-000001")
    merge(tmp_path, store, key)
    with monkeypatch.context() as cut:
        cut.setattr(locked, "Entry", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            take_in(store)
    assert len(list(store.entries(kind="assessment"))) == 1
    assert len(take_in(store)) == 1
    assert take_in(store) == []
    assert len(list(store.entries(kind="assessment"))) == 1


def test_what_a_locked_box_sealed_is_erased_with_its_patient(
    tmp_path: Path, store: Store, key: StoreKey
) -> None:
    _spooled(tmp_path, "c-000001")
    merge(tmp_path, store, key)
    take_in(store)
    store.erase("p-000001", "supervisor", "asked for")
    about = list(store.entries(patient="p-000001"))
    assert {"locked-consultation", "locked-picture", "assessment"} <= {entry.kind for entry in about}
    assert all(entry.body is None for entry in about)
    unnamed = [entry for entry in store.entries(patient="") if entry.kind.startswith("locked")]
    assert all(b"skin.jpg" not in (entry.body or b"") for entry in unnamed)


def test_a_patient_who_was_erased_comes_back_under_a_new_id(
    tmp_path: Path, store: Store, key: StoreKey
) -> None:
    store.admit(Person("p-000001", "Ange"), "nurse")
    store.erase("p-000001", "supervisor", "asked for")
    _spooled(tmp_path, "c-000002")
    merge(tmp_path, store, key)
    (index,) = take_in(store)
    assert store.entry(index).patient not in ("", "p-000001")


def test_one_that_cannot_be_recorded_stays_and_says_why(tmp_path: Path, store: Store, key: StoreKey) -> None:
    case, _ = _case("c-000001")
    _, other = _case("c-000002")
    spool(Spool(tmp_path), PERSON, "unknown", 5, case, other, {})
    merge(tmp_path, store, key)
    assert take_in(store) == []
    (told,) = store.entries(kind=locked.TAKEN)
    assert b"case_id: expected c-000001" in (told.body or b"")


def test_a_consultation_that_was_sent_again_is_found(tmp_path: Path, store: Store, key: StoreKey) -> None:
    _spooled(tmp_path, "c-000001")
    merge(tmp_path, store, key)
    (index,) = take_in(store)
    digest = sha256(_case("c-000001", "skin.jpg")[0]).hexdigest()
    assert recorded_already(store, "p-000001", "c-000001", digest) == index
    assert recorded_already(store, "p-000001", "c-000001", "0" * 64) is None
