"""A picture comes in small, upright and without metadata, or it is refused in words."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFilter
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGLosslessSV1,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from akazuba.errors import ImageError
from akazuba.intake import apart, images, quality
from akazuba.intake.images import load_picture
from akazuba.records import ImageRef, Picture

Pixels = npt.NDArray[np.uint8]


def scene(width: int = 200, height: int = 160) -> Pixels:
    """A coloured, sharp, well lit picture that passes every check."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(60, 220, (12, 12, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST))


def grey_scene(width: int = 200, height: int = 160) -> Pixels:
    return np.asarray(Image.fromarray(scene(width, height)).convert("L"))


def load(path: Path, kind: str = "skin-photo") -> Picture:
    return load_picture(ImageRef(path.name, kind), path.parent)


def saved(tmp_path: Path, image: Image.Image, name: str, **options: Any) -> Path:
    path = tmp_path / name
    image.save(path, **options)
    return path


# --- what comes out -----------------------------------------------------------------------------


def test_a_png_comes_out_as_it_is(tmp_path: Path) -> None:
    picture = load(saved(tmp_path, Image.fromarray(scene()), "a.png"))
    assert np.array_equal(picture.pixels, scene())
    assert picture.problems == ()


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_the_longer_side_is_at_most_1024(tmp_path: Path, name: str) -> None:
    picture = load(saved(tmp_path, Image.fromarray(scene(2600, 1300)), name))
    height, width, _ = picture.pixels.shape
    assert 512 <= width <= 1024
    assert abs(width - 2 * height) <= 2


@pytest.mark.parametrize("size", [(5000, 1), (1, 3000), (1, 1)])
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_sliver_is_decoded_and_called_too_small(tmp_path: Path, size: tuple[int, int], name: str) -> None:
    picture = load(saved(tmp_path, Image.new("RGB", size, "white"), name))
    assert "small" in [problem.check for problem in picture.problems]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90°
    exif[0x010F] = "secret maker"
    upright = load(saved(tmp_path, Image.fromarray(scene(200, 100)), "a.jpg", exif=exif, quality=95))
    assert upright.pixels.shape == (200, 100, 3)
    turned = np.rot90(scene(200, 100), -1).astype(int)
    assert np.abs(upright.pixels.astype(int) - turned).mean() < 8


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"])
def test_damaged_exif_does_not_cost_the_picture(tmp_path: Path, exif: bytes) -> None:
    assert load(saved(tmp_path, Image.fromarray(scene()), "a.jpg", exif=exif)).problems == ()


def test_a_large_png_is_turned_and_decoded_apart(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    path = saved(tmp_path, Image.fromarray(scene(2400, 1200)), "a.png", exif=exif, compress_level=1)
    with path.open("rb") as file:
        assert images.raster.cost(images.raster.opened(file, "a")) > images.APART_BYTES
    picture = load(path)
    assert picture.pixels.shape == (512, 1024, 3)
    small = np.asarray(Image.fromarray(scene(2400, 1200)).resize((1024, 512), Image.Resampling.BOX))
    assert np.abs(picture.pixels.astype(int) - small[::-1, ::-1]).mean() < 8


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_of_png_and_jpeg_is_read(tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(grey_scene().astype(np.uint16) * 257)
    elif mode == "P":
        image = Image.fromarray(scene()).quantize(64)
    else:
        image = Image.fromarray(scene()).convert(mode)
    path = saved(tmp_path, image, "a.jpg" if mode == "CMYK" else "a.png")
    pixels = load(path).pixels
    grey = mode in ("1", "L", "LA", "I;16")
    assert pixels.shape == ((160, 200) if grey else (160, 200, 3))
    if mode != "1":
        expected = grey_scene() if grey else scene()
        assert np.abs(pixels.astype(int) - expected).mean() < 12


def test_twelve_bits_in_a_16_bit_png_are_not_black(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(grey_scene().astype(np.uint16) * 16), "a.png")
    assert np.abs(load(path).pixels.astype(int) - grey_scene()).max() <= 1


def test_what_is_transparent_shows_white(tmp_path: Path) -> None:
    see_through = np.dstack([scene(), np.zeros((160, 200), np.uint8)])
    assert load(saved(tmp_path, Image.fromarray(see_through), "a.png")).pixels.min() == 255
    palette = Image.fromarray(scene()).quantize(8)
    path = saved(tmp_path, palette, "p.png", transparency=0)
    assert (load(path).pixels == 255).all(axis=2).any()


def test_of_an_animation_the_first_picture_is_read_and_that_is_said(tmp_path: Path) -> None:
    first, second = Image.fromarray(scene()), Image.new("RGB", (200, 160), "black")
    picture = load(saved(tmp_path, first, "a.png", save_all=True, append_images=[second]))
    assert np.array_equal(picture.pixels, scene())
    assert [problem.check for problem in picture.problems] == ["frames"]


def test_a_picture_inside_the_case_is_read_by_its_name(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(scene()).save(buffer, "PNG")
    picture = load_picture(ImageRef("Media/m1", "skin-photo"), tmp_path, {"Media/m1": buffer.getvalue()})
    assert np.array_equal(picture.pixels, scene())


def test_a_path_may_leave_the_folder_of_the_case(tmp_path: Path) -> None:
    saved(tmp_path, Image.fromarray(scene()), "a.png")
    (tmp_path / "cases").mkdir()
    picture = load_picture(ImageRef("../a.png", "skin-photo"), tmp_path / "cases")
    assert picture.pixels.shape == (160, 200, 3)


# --- what is refused ----------------------------------------------------------------------------


def encoded(kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(scene()).save(buffer, kind, **options)
    return buffer.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A PNG that only declares its size: a bomb's head."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"hello, I am a picture", "no image"),
        (b"GIF89a" + b"\0" * 50, "a GIF file"),
        (b"%PDF-1.4\n", "a PDF document"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 50, "HEIC"),
        (b"PK\x03\x04" + b"\0" * 50, "a ZIP archive"),
        (encoded("PNG")[:-200], "PNG file that ends too early"),
        (encoded("PNG")[:20], "PNG file"),
        (encoded("JPEG")[: len(encoded("JPEG")) // 2], "JPEG file that ends too early"),
        (encoded("JPEG")[:20], "JPEG file"),
        (b"\xff\xd8\xff" + b"\0" * 300, "damaged JPEG"),
        (png_of(8000, 5001), "8000 x 5001 = 40,008,000"),
        (png_of(100_000, 100_000), "10,000,000,000"),
        (png_of(7000, 5000), "PNG file"),
        (b"\0" * 128 + b"DICM", "DICOM without pixels"),
        (b"\0" * 128 + b"DICM" + b"\xff" * 100, ""),
    ],
)
def test_what_is_no_whole_image_is_refused_in_words(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "film.png"
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        load(path)
    assert caught.value.item == "film.png"
    assert words in caught.value.found


def test_a_missing_file_a_folder_and_a_pipe_are_named(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    for name, words in (
        ("no.png", "nothing at"),
        ("folder.png", "a folder"),
        ("pipe.png", "device or pipe"),
        ("a\0b", "null"),
    ):
        with pytest.raises(ImageError, match=words):
            load(tmp_path / name)


def test_a_file_over_50_mib_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        file.truncate(51 * 1024**2)
    with pytest.raises(ImageError, match="at most 50 MiB, found 51 MiB"):
        load(path)


def test_any_damage_to_a_file_gives_a_picture_or_an_image_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    path = tmp_path / "a"
    for kind in ("PNG", "JPEG"):
        whole = encoded(kind)
        for _ in range(60):
            data = bytearray(whole)
            for place in rng.integers(8, len(data), 4):
                data[place] = rng.integers(0, 256)
            path.write_bytes(data)
            with contextlib.suppress(ImageError):
                assert load(path).pixels.dtype == np.uint8


# --- DICOM --------------------------------------------------------------------------------------


def dicom(pixels: npt.NDArray[Any], **tags: Any) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Rows, data.Columns = pixels.shape[-3:-1] if tags.get("SamplesPerPixel") == 3 else pixels.shape[-2:]
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = pixels.dtype.itemsize * 8
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.Modality, data.BodyPartExamined, data.PatientName = "DX", "CHEST", "Uwase^Secret"
    data.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    return data


def film(tmp_path: Path, data: Dataset, kind: str = "chest-xray") -> Picture:
    data.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    return load(tmp_path / "film.dcm", kind)


def close(pixels: Pixels, expected: npt.NDArray[Any], tolerance: float = 2) -> bool:
    return bool(np.abs(pixels.astype(float) - expected).max() <= tolerance)


FULL = {"WindowCenter": 128, "WindowWidth": 256}


def test_the_first_window_is_applied_after_the_rescale(tmp_path: Path) -> None:
    stored = grey_scene().astype(np.uint16) * 8
    tags = {"RescaleSlope": 0.5, "RescaleIntercept": -100, "WindowCenter": [412, 1], "WindowWidth": [1024, 2]}
    picture = film(tmp_path, dicom(stored, **tags))
    assert close(picture.pixels, grey_scene())
    assert picture.problems == ()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_without_a_window_the_range_in_use_is_shown(tmp_path: Path, dtype: Any) -> None:
    stored = (grey_scene() // 2).astype(dtype) - (30 if dtype is np.int16 else 0)
    pixels = film(tmp_path, dicom(stored)).pixels
    assert pixels.min() == 0
    assert pixels.max() == 255
    assert np.corrcoef(pixels.ravel(), grey_scene().ravel())[0, 1] > 0.99


def test_monochrome1_is_turned_over(tmp_path: Path) -> None:
    picture = film(tmp_path, dicom(255 - grey_scene(), PhotometricInterpretation="MONOCHROME1", **FULL))
    assert close(picture.pixels, grey_scene())


def test_a_window_without_width_is_not_used(tmp_path: Path) -> None:
    assert film(tmp_path, dicom(grey_scene(), WindowCenter=50, WindowWidth=0)).pixels.max() == 255


def test_colour_and_palette_are_read(tmp_path: Path) -> None:
    data = dicom(
        scene(), SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0, Modality="XC"
    )
    assert np.array_equal(film(tmp_path, data, "skin-photo").pixels, scene())
    data = dicom(grey_scene(), PhotometricInterpretation="PALETTE COLOR", Modality="XC")
    for colour, step in (("Red", 1), ("Green", 1), ("Blue", -1)):
        table = (np.arange(256, dtype=np.uint16) * 257)[::step]
        setattr(data, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(data, f"{colour}PaletteColorLookupTableData", table.tobytes())
    pixels = film(tmp_path, data, "skin-photo").pixels
    assert close(pixels[..., 0], grey_scene())
    assert close(pixels[..., 2], 255 - grey_scene().astype(int))


def test_of_several_frames_the_first_is_read_and_that_is_said(tmp_path: Path) -> None:
    frames = np.stack([grey_scene(), np.zeros_like(grey_scene())])
    picture = film(tmp_path, dicom(frames, NumberOfFrames=2, **FULL))
    assert close(picture.pixels, grey_scene())
    assert [problem.check for problem in picture.problems] == ["frames"]


def test_a_large_film_is_reduced(tmp_path: Path) -> None:
    stored = grey_scene(2500, 2000).astype(np.uint16) * 16
    picture = film(tmp_path, dicom(stored, WindowCenter=2048, WindowWidth=4096))
    assert picture.pixels.shape == (819, 1024)
    small = Image.fromarray(grey_scene(2500, 2000)).resize((1024, 819), Image.Resampling.BOX)
    assert np.abs(picture.pixels.astype(int) - np.asarray(small)).mean() < 6


def test_rle_is_decoded_and_an_unknown_compression_named(tmp_path: Path) -> None:
    data = dicom(grey_scene(), **FULL)
    data.compress(RLELossless)
    assert close(film(tmp_path, data).pixels, grey_scene())
    data.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    with pytest.raises(ImageError, match="compressed as JPEG Lossless"):
        film(tmp_path, data)


def test_a_file_without_preamble_is_known_as_dicom(tmp_path: Path) -> None:
    data = dicom(grey_scene(), **FULL)
    data.file_meta = FileMetaDataset()
    data.save_as(tmp_path / "film.dcm", enforce_file_format=False, implicit_vr=True, little_endian=True)
    assert close(load(tmp_path / "film.dcm", "chest-xray").pixels, grey_scene())


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"Rows": 6000, "Columns": 7000}, "42,000,000"),
        ({"Rows": 500}, "do not fit"),
        ({"EncapsulatedDocument": b"%PDF"}, "a document"),
    ],
)
def test_a_film_that_cannot_be_read_says_why(tmp_path: Path, tags: dict[str, Any], words: str) -> None:
    with pytest.raises(ImageError, match=words):
        film(tmp_path, dicom(grey_scene(), **tags))


def test_dicom_without_pixels_is_refused(tmp_path: Path) -> None:
    data = dicom(grey_scene())
    del data.PixelData
    with pytest.raises(ImageError, match="DICOM without pixels"):
        film(tmp_path, data)


def test_a_dicom_bomb_ends_its_own_process_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "MEMORY_MIB", 400)
    data = dicom(np.zeros((10, 10), np.uint8))
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.add_new(0x00091001, "OB", bytes(150 * 1024**2))
    data.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    assert (tmp_path / "film.dcm").stat().st_size < 1024**2
    with pytest.raises(ImageError, match="within 400 MiB and 20 s, found one that needs more memory"):
        load(tmp_path / "film.dcm")


def test_what_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "SECONDS", 0.01)
    with pytest.raises(ImageError, match="one that takes longer"):
        film(tmp_path, dicom(grey_scene()))


def test_a_film_of_another_modality_or_body_part_is_a_kind_problem(tmp_path: Path) -> None:
    for tags in ({"Modality": "CT"}, {"BodyPartExamined": "HAND"}):
        picture = film(tmp_path, dicom(grey_scene(), **FULL, **tags))
        assert [problem.check for problem in picture.problems] == ["kind"]


# --- quality ------------------------------------------------------------------------------------


def checks(pixels: Pixels, kind: str) -> set[str]:
    return {problem.check for problem in quality.problems(pixels, kind)}


@pytest.mark.parametrize("kind", ["skin-photo", "chest-xray"])
def test_a_bad_picture_is_flagged_with_what_to_do(kind: str) -> None:
    good = scene() if kind == "skin-photo" else grey_scene()
    image = Image.fromarray(good)
    assert checks(good, kind) == set()
    assert "dark" in checks((good * 0.15).astype(np.uint8), kind)
    assert "bright" in checks((255 - (255 - good) * 0.1).astype(np.uint8), kind)
    assert "contrast" in checks((120 + good * 0.05).astype(np.uint8), kind)
    assert "blurred" in checks(np.asarray(image.filter(ImageFilter.GaussianBlur(14))), kind)
    assert "small" in checks(np.asarray(image.resize((60, 48))), kind)
    assert checks(np.zeros_like(good), kind) >= {"dark", "contrast"}
    assert checks(np.full_like(good, 255), kind) >= {"bright", "contrast"}
    noise = np.random.default_rng(1).integers(0, 256, good.shape, dtype=np.uint8)
    assert checks(noise, kind) == {"noise"}
    for problem in quality.problems(np.zeros_like(good), kind):
        assert "again" in problem.message
        assert problem.value is not None
        assert problem.limit is not None


def test_a_grey_skin_photo_and_a_coloured_film_are_not_what_they_claim() -> None:
    assert checks(grey_scene(), "skin-photo") == {"kind"}
    assert checks(scene(), "chest-xray") == {"kind"}


def test_a_plugins_kind_is_judged_by_what_no_picture_survives() -> None:
    assert checks(scene(), "ecg-strip") == set()
    assert checks(grey_scene(), "ecg-strip") == set()
    assert "contrast" in checks(np.zeros((200, 200), np.uint8), "ecg-strip")
