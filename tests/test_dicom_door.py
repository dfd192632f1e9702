"""The DICOM door: what comes in, what is refused and why, and that no name gets past it unsealed."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from door_bench import Knocking, let_in
from joserfc.jwk import OKPKey
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid
from tablet_bench import PASSPHRASE, Tablet, box, page_of, recorded, words

from akazuba.errors import ImageError, InputError
from akazuba.intake import films
from akazuba.storage import arrived
from akazuba.storage.unlocking import unlocked
from akazuba.web import arriving
from akazuba.web.doors import dicom, tokens
from akazuba.web.post import Post

KEY = OKPKey.generate_key("Ed25519")
NAME = "Mukamana^Marie"


def film(seed: int = 0, **tags: Any) -> bytes:
    """A DICOM file of a scene that is sharp enough to pass for a picture."""
    random = np.random.default_rng(seed)
    coarse = random.integers(60, 200, (40, 45)).astype(np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize((450, 400), Image.Resampling.BICUBIC))
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    data.StudyInstanceUID = generate_uid()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.PatientName, data.PatientBirthDate, data.StudyDate = NAME, "19900412", "20261128"
    data.Modality, data.BodyPartExamined = "CR", "CHEST"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation, data.PixelData = 7, 0, pixels.tobytes()
    for name, value in tags.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory, terminology_home: Path) -> Iterator[Post]:
    made = box(tmp_path_factory.mktemp("dicom"), terminology_home)
    let_in(made, "xray-room", KEY, "system/*.write")
    let_in(made, "reader", KEY, "system/*.read")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def none_waits(post: Post) -> Iterator[None]:
    yield
    for id_ in arrived.waiting(post.settings.home):
        arrived.drop(post.settings.home, id_)


@pytest.fixture
def app(post: Post) -> Any:
    made = page_of(post)
    made.router.routes[:0] = tokens.routes()
    made.state.origins = ("https://box.example",)
    return made


def multipart(*parts: bytes, kind: bytes = b"application/dicom") -> bytes:
    body = b"".join(b"--b\r\nContent-Type: " + kind + b"\r\n\r\n" + part + b"\r\n" for part in parts)
    return body + b"--b--\r\n"


def sends(app: Any, body: bytes, scope: str = "system/*.write", **headers: str) -> httpx.Response:
    client = "reader" if scope.endswith("read") else "xray-room"
    token = Knocking(app, client, KEY).token(scope)
    sent = {
        "Authorization": f"Bearer {token}",
        "Content-Type": 'multipart/related; type="application/dicom"; boundary=b',
        **headers,
    }
    return Tablet(app).request("POST", "/dicom-web/studies", content=body, headers=sent)


def items(answer: httpx.Response, tag: str) -> list[dict[str, Any]]:
    found = answer.json().get(tag, {}).get("Value", [])
    return [{name: each["Value"][0] for name, each in item.items()} for item in found]


# --- STOW-RS --------------------------------------------------------------------------------------------


def test_what_a_program_sends_waits_and_is_answered_as_ps3_18_has_it(app: Any, post: Post) -> None:
    uid = generate_uid()
    answer = sends(app, multipart(film(SOPInstanceUID=uid)))
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/dicom+json"
    (said,) = items(answer, "00081199")
    assert said == {"00081150": ComputedRadiographyImageStorage, "00081155": uid, "00081196": 0xB006}
    assert "00081198" not in answer.json()
    assert len(arrived.waiting(post.settings.home)) == 1


def test_each_part_is_answered_and_one_bad_one_costs_itself_only(app: Any, post: Post) -> None:
    document = film(PixelData=None, SOPInstanceUID="1.2.3")
    answer = sends(app, multipart(film(1), b"no picture at all", document, film(2)))
    assert answer.status_code == 202
    assert len(items(answer, "00081199")) == 2
    assert items(answer, "00081198") == [
        {"00081150": ComputedRadiographyImageStorage, "00081155": "1.2.3", "00081197": 0x0122}
    ]
    assert items(answer, "0008119A") == [{"00081197": 0xC000}]
    assert "part 2: expected a DICOM file, found another file" in answer.headers["warning"]
    assert len(arrived.waiting(post.settings.home)) == 2


def test_nothing_taken_in_is_a_conflict(app: Any) -> None:
    assert sends(app, multipart(b"\0" * 128 + b"DICM")).status_code == 409
    assert sends(app, multipart(film(), kind=b"text/html")).status_code == 409


def test_the_same_file_again_is_taken_once(app: Any, post: Post) -> None:
    body, before = multipart(film(3)), len(recorded(post, "picture-arrived"))
    assert [sends(app, body).status_code for _ in range(2)] == [202, 202]
    assert len(arrived.waiting(post.settings.home)) == 1
    assert len(recorded(post, "picture-arrived")) == before + 1


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b"--b\r\nContent-Type: application/dicom\r\n\r\nDICM", {}, 400),
        (b"no multipart", {}, 400),
        (multipart(*[b"x"] * 17), {}, 400),
        (multipart(b"x"), {"Content-Type": "application/dicom"}, 415),
        (multipart(b"x"), {"Content-Type": 'multipart/related; type="application/dicom"'}, 415),
        (multipart(b"x"), {"Content-Type": 'multipart/related; type="text/xml"; boundary=b'}, 415),
        (multipart(b"x"), {"Content-Type": "multipart/form-data; boundary=b"}, 415),
        (b"x" * (40 * 1024 * 1024 + 1), {}, 413),
    ],
)
def test_another_request_is_refused_with_what_was_expected(
    app: Any, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = sends(app, body, **headers)
    assert answer.status_code == status
    assert "expected" in answer.json()["error"]


def test_only_a_program_that_may_write_is_let_in(app: Any, post: Post) -> None:
    body, kind = (
        multipart(film()),
        {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'},
    )
    bare = Tablet(app).request("POST", "/dicom-web/studies", content=body, headers=kind)
    assert bare.status_code == 401
    assert bare.headers["www-authenticate"].startswith("Bearer")
    assert sends(app, body, "system/*.read").status_code == 403
    nurse = Tablet(app).sign_in("chantal-uwimana")
    assert nurse.request("POST", "/dicom-web/studies", content=body, headers=kind).status_code == 401
    assert not arrived.waiting(post.settings.home)


def test_when_too_many_wait_the_sender_is_told(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrived, "MOST", 1)
    assert sends(app, multipart(film(1))).status_code == 202
    answer = sends(app, multipart(film(2)))
    assert answer.status_code == 409
    assert items(answer, "00081198")[0]["00081197"] == 0xA700


# --- what is kept ---------------------------------------------------------------------------------------


def test_neither_the_name_nor_the_picture_lies_on_the_disk_or_in_the_log(app: Any, post: Post) -> None:
    sends(app, multipart(film(4)))
    home = post.settings.home
    (id_,) = arrived.waiting(home)
    png = arrived.picture(home, id_, unlocked(home, PASSPHRASE))
    for path in (home / "arrived").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert b"Mukamana" not in path.read_bytes()
        assert png[:64] not in path.read_bytes()
    logged = b"".join(entry.body or b"" for entry in recorded(post, "picture-arrived"))
    assert b"Mukamana" not in logged


def test_the_picture_is_what_the_engine_would_read_and_holds_no_words() -> None:
    head, found = films.read(film(5), "film")
    assert isinstance(found, films.Film)
    assert (head.name, head.born, head.taken) == ("Mukamana Marie", "1990-04-12", "2026-11-28")
    opened = Image.open(io.BytesIO(found.png))
    assert not opened.info
    assert b"Mukamana" not in found.png
    assert (found.kind, opened.size) == ("chest-xray", (450, 400))


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>^x", "a\r\nb\0c", "名前^花子=山田", "x" * 500, "'; DROP TABLE entry;--"],
)
def test_a_name_in_a_file_is_plain_text_of_one_line(name: str) -> None:
    with np.errstate(all="ignore"):
        data = film(SpecificCharacterSet="ISO_IR 192", PatientName=name[:64])
    head, _ = films.read(data, "film")
    assert len(head.name) <= 120
    assert head.name.isprintable()


@pytest.mark.parametrize("uid", ["1.2.3/../../etc", "x" * 65, "<b>", "１.２"])
def test_a_uid_that_is_none_is_not_repeated(uid: str) -> None:
    data = film().replace(b"1.2.840.10008.5.1.4.1.1.1\0", uid.encode()[:26].ljust(26, b"\0"))
    head, _ = films.read(data, "film")
    assert head.sop_class in ("", ComputedRadiographyImageStorage)


@pytest.mark.parametrize("cut", [0, 1, 131, 132, 200, 700, 5000])
def test_a_file_that_ends_anywhere_is_an_error_of_ours(cut: int) -> None:
    _, found = films.read(film()[:cut], "film")
    assert isinstance(found, ImageError)


def test_a_sealed_picture_opens_under_its_own_name_and_key_only(tmp_path: Path, post: Post, app: Any) -> None:
    from akazuba.errors import ArtefactError

    sends(app, multipart(film(6)))
    home, key = post.settings.home, unlocked(post.settings.home, PASSPHRASE)
    (id_,) = arrived.waiting(home)
    other = "0" * 32
    (home / "arrived" / f"{other}.sealed").write_bytes((home / "arrived" / f"{id_}.sealed").read_bytes())
    with pytest.raises(ArtefactError, match="does not open"):
        arrived.about(home, other, key)
    with pytest.raises(InputError):
        arrived.about(home, "../device.secret", key)
    arrived.drop(home, other)


# --- the nurse ------------------------------------------------------------------------------------------


def test_the_list_shows_the_name_as_a_hint_and_the_look_is_recorded(app: Any, post: Post) -> None:
    sends(app, multipart(film(7, PatientName="<b>Robert'); DROP TABLE entry;--</b>")))
    nurse, before = Tablet(app).sign_in("chantal-uwimana"), len(recorded(post, "picture-shown"))
    seen = nurse.get("/pictures").text
    assert "<b>Robert" not in seen
    assert "&lt;b&gt;Robert" in seen
    (id_,) = arrived.waiting(post.settings.home)
    image = nurse.get(f"/pictures/{id_}/image")
    assert image.headers["content-type"] == "image/png"
    assert image.headers["cache-control"] == "no-store"
    shown = recorded(post, "picture-shown")[before:]
    assert [msgspec.json.decode(entry.body or b"")["what"] for entry in shown] == ["the list", "the picture"]
    assert f'data-arrived="{id_}"' in nurse.get("/pictures/rows").text


def test_whoever_records_no_patients_sees_no_pictures(app: Any, post: Post) -> None:
    sends(app, multipart(film(8)))
    (id_,) = arrived.waiting(post.settings.home)
    for who in ("alice-auditor", "jean-habimana", "odile-operator"):
        tablet = Tablet(app).sign_in(who)
        for path in ("/pictures", "/pictures/rows", f"/pictures/{id_}/image"):
            assert tablet.get(path).status_code == 403
        assert tablet.post(f"/pictures/{id_}/take", {"case": "c-1234567"}).status_code == 403
    assert Tablet(app).get(f"/pictures/{id_}/image").status_code == 303


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the upload's own file
def test_a_picture_waits_until_the_consultation_that_took_it_is_recorded_with_it(
    app: Any, post: Post
) -> None:
    sends(app, multipart(film(9)))
    home, nurse = post.settings.home, Tablet(app).sign_in("chantal-uwimana")
    (id_,) = arrived.waiting(home)
    case = "c-20261129-arrived"
    png = nurse.post(f"/pictures/{id_}/take", {"case": case}).content
    assert "which is not recorded with it yet" in nurse.get("/pictures").text

    def records(**more: Any) -> httpx.Response:
        said = {"id": case, "date": "2026-11-29", "note": "cough", **more}
        given = {"case": json.dumps(said), "person": '{"id":"p-arrived-1","name":"Ange"}', "keep": "yes"}
        pictures = {"picture": ("arrived.png", png, "image/png")} if more else None
        return nurse.post("/consultation/assess", given, files=pictures)

    assert records().status_code == 200
    assert id_ in nurse.get("/pictures").text, "recorded without it: it waits on"
    assert records(images=[{"path": "arrived.png", "kind": "chest-xray"}]).status_code == 200
    assert id_ not in nurse.get("/pictures").text
    assert arrived.waiting(home) == []
    assert recorded(post, "picture-attached")[-1].patient == "p-arrived-1"


def test_a_picture_that_was_attached_or_discarded_does_not_come_back(app: Any, post: Post) -> None:
    body = multipart(film(10))
    sends(app, body)
    nurse = Tablet(app).sign_in("chantal-uwimana")
    (id_,) = arrived.waiting(post.settings.home)
    assert nurse.post(f"/pictures/{id_}/discard", {"because": "Marie died"}).status_code == 422
    assert nurse.post(f"/pictures/{id_}/discard", {"because": arriving.WHYS[0]}).status_code == 303
    assert nurse.post(f"/pictures/{id_}/discard", {"because": arriving.WHYS[0]}).status_code == 422
    assert sends(app, body).status_code == 202
    assert arrived.waiting(post.settings.home) == []


# --- the watched folder ---------------------------------------------------------------------------------


def looks(post: Post, times: int = 2) -> None:
    async def again() -> None:
        seen: dicom.Seen = {}
        for _ in range(times):
            seen = await dicom.look(post, seen)

    asyncio.run(again())


@pytest.fixture
def inbox(post: Post) -> Path:
    folder = post.settings.home / dicom.INBOX
    looks(post, 1)
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    return folder


def test_a_file_in_the_folder_is_taken_in_and_leaves_it(post: Post, inbox: Path) -> None:
    (inbox / "CD" / "IMAGES").mkdir(parents=True)
    (inbox / "CD" / "IMAGES" / "IM0001").write_bytes(film(11))
    looks(post)
    assert len(arrived.waiting(post.settings.home)) == 1
    assert [path for path in inbox.rglob("*") if path.is_file()] == []


def test_a_file_that_still_grows_is_left_alone(post: Post, inbox: Path) -> None:
    data = film(12)

    async def written_slowly() -> int:
        seen: dicom.Seen = {}
        for end in (400, 900, 5000, len(data)):
            (inbox / "growing.dcm").write_bytes(data[:end])
            seen = await dicom.look(post, seen)
        waiting = len(arrived.waiting(post.settings.home))
        await dicom.look(post, seen)
        return waiting

    assert asyncio.run(written_slowly()) == 0
    assert len(arrived.waiting(post.settings.home)) == 1
    assert not (inbox / "refused").exists()


def test_names_of_unfinished_files_and_empty_ones_are_not_read(post: Post, inbox: Path) -> None:
    for name in (".hidden", "film.dcm.part", "film.TMP"):
        (inbox / name).write_bytes(film(13))
    (inbox / "empty.dcm").touch()
    looks(post, 3)
    assert len(list(inbox.iterdir())) == 4
    assert not arrived.waiting(post.settings.home)


def test_what_is_no_picture_goes_aside_with_its_reason(
    post: Post, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicom, "MAX_FILE_BYTES", 300_000)
    (inbox / "letter.pdf").write_bytes(b"%PDF-1.7")
    (inbox / "cut.dcm").write_bytes(film(14)[:3000])
    (inbox / "huge.dcm").write_bytes(bytes(300_001))
    (inbox / "link.dcm").symlink_to(post.settings.home / "device.secret")
    os.mkfifo(inbox / "pipe.dcm")
    looks(post)
    why = {
        path.name.removesuffix(".reason.txt"): path.read_text() for path in (inbox / "refused").glob("*.txt")
    }
    assert "a DICOM file, found another file" in why["letter.pdf"]
    assert "cut.dcm" in why["cut.dcm"]
    assert "at most 300000 bytes" in why["huge.dcm"]
    assert "no link" in why["link.dcm"]
    assert (inbox / "refused" / "link.dcm").is_symlink()
    assert (post.settings.home / "device.secret").exists()
    assert not arrived.waiting(post.settings.home)
    assert not [path for path in inbox.iterdir() if path.name not in {"refused", "pipe.dcm"}]


def test_refused_files_of_one_name_do_not_replace_one_another(post: Post, inbox: Path) -> None:
    for text in ("first", "second"):
        (inbox / "note.txt").write_text(text)
        looks(post)
    kept = sorted(
        path.read_text() for path in (inbox / "refused").glob("note*.txt") if "reason" not in path.name
    )
    assert kept == ["first", "second"]


def test_a_file_stays_in_the_folder_while_too_many_wait(
    post: Post, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrived, "MOST", 0)
    (inbox / "film.dcm").write_bytes(film(15))
    looks(post)
    assert (inbox / "film.dcm").exists()


def test_what_comes_while_the_box_is_locked_is_sealed_and_listed_after_unlock(
    tmp_path: Path, terminology_home: Path
) -> None:
    post = box(tmp_path / "home", terminology_home)
    try:
        asyncio.run(post.records(lambda kept: kept.lock()))
        looks(post, 1)
        (post.settings.home / dicom.INBOX / "night.dcm").write_bytes(film(16))
        looks(post)
        (id_,) = arrived.waiting(post.settings.home)
        assert not (post.settings.home / dicom.INBOX / "night.dcm").exists()
        night = Tablet(page_of(post))
        assert night.get("/pictures").status_code == 423
        asyncio.run(post.unlock(PASSPHRASE))
        assert len(recorded(post, "locked-picture-arrived")) == 1
        seen = night.sign_in("chantal-uwimana").get("/pictures")
        assert "Mukamana Marie" in words(seen.text)
        assert id_ in seen.text
    finally:
        post.close()


def test_a_box_without_a_store_leaves_the_folder_alone(tmp_path: Path, terminology_home: Path) -> None:
    import shutil

    from akazuba.settings import Settings

    shutil.copytree(terminology_home, tmp_path / "home")
    post = Post(Settings(tmp_path / "home", llm="off"))
    try:
        folder = tmp_path / "home" / dicom.INBOX
        folder.mkdir()
        (folder / "film.dcm").write_bytes(film(17))
        looks(post, 3)
        assert (folder / "film.dcm").exists()
    finally:
        post.close()
