"""The gallery: what its plates show are the numbers that they were given."""

import functools
import importlib
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from akazuba.diagnosis import calibration
from akazuba.errors import InputError
from akazuba.waiting import simulate

pytest.importorskip("matplotlib", reason="needs the extra [plots]")

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "docs" / "gallery"
Load = Callable[[str], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def plots(load: Load) -> ModuleType:
    return load("gallery_plots")


@pytest.fixture
def cases(load: Load) -> ModuleType:
    return load("gallery_cases")


def claims(n: int = 400) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Stated probabilities and hits of somebody a little too sure; two cases to a patient."""
    rng = np.random.default_rng(1)
    stated = rng.random(n)
    return stated, rng.random(n) < stated**1.5, [f"p{i // 2}" for i in range(n)]


def gap_of(bins: list[Any]) -> float:
    return float(sum(b.n * abs(b.stated - b.right) for b in bins) / sum(b.n for b in bins))


def test_bins_of_equal_count_are_those_of_the_engines_calibration_error(cases: ModuleType) -> None:
    stated, right, groups = claims()
    found = cases.bins(stated, right, groups, "count")
    # an answer of which only the first label is known to be claimed; the label is it when the claim is right
    error = calibration.expected_calibration_error(
        np.stack([stated, np.zeros_like(stated)], axis=1), np.where(right, 0, 1)
    )
    assert gap_of(found) == pytest.approx(error, abs=1e-12)
    assert {b.n for b in found} == {40}


def test_bins_of_equal_width_are_those_of_the_differentials_calibration_error(
    cases: ModuleType, load: Load
) -> None:
    stated, right, groups = claims()
    found = cases.bins(stated, right, groups, "width")
    error = load("differential").expected_calibration_error(stated, right)
    assert gap_of(found) == pytest.approx(error, abs=5e-5)  # theirs is rounded
    assert all(b.low <= b.right <= b.high for b in found)
    assert sum(b.n for b in found) == len(stated)


def test_a_case_that_is_stated_as_certain_falls_into_the_last_bin(plots: ModuleType) -> None:
    found = plots.places(np.array([1.0, 0.95, 0.0]), "width")
    assert [part.tolist() for part in found] == [[2], [0, 1]]


def test_a_share_of_few_that_are_all_right_is_not_certain(cases: ModuleType) -> None:
    found = cases.share(np.ones(8, bool), [f"p{i}" for i in range(8)])
    assert found["value"] == found["high"] == 1
    assert found["low"] == pytest.approx(8 / (8 + 1.96**2), abs=1e-3)  # Wilson's for k = n


def test_pictures_of_one_patient_make_an_interval_wider(cases: ModuleType) -> None:
    right = np.repeat(np.array([True, False] * 4), 10)
    alike = cases.share(right, [str(i // 10) for i in range(80)])
    apart = cases.share(right, [str(i) for i in range(80)])
    assert alike["high"] - alike["low"] > 1.5 * (apart["high"] - apart["low"])


def test_a_reliability_diagram_shows_the_bins_it_was_given(plots: ModuleType) -> None:
    bins = [plots.Bin(0.3, 0.25, 0.1, 0.5, 20), plots.Bin(0.9, 0.95, 0.8, 1.0, 60)]
    panel = plots.Panel("some engine", bins, {"value": 0.05, "low": 0.02, "high": 0.09, "n": 80})
    [axis] = plots.reliability([panel]).axes
    bars, dots = axis.collections
    assert np.allclose(dots.get_offsets(), [(0.3, 0.25), (0.9, 0.95)])
    assert np.allclose([line[:, 1] for line in bars.get_segments()], [(0.1, 0.5), (0.8, 1.0)])
    assert dots.get_sizes()[0] < dots.get_sizes()[1]
    assert axis.get_title() == "some engine\nn = 80\nECE 0.050 (0.020–0.090)"
    assert axis.get_xlim()[0] < 0.1  # the whole of the interval is inside


def test_a_site_shows_what_was_stated_and_what_was_right(plots: ModuleType) -> None:
    right = {"value": 0.4, "low": 0.3, "high": 0.55, "n": 35}
    rows = [plots.Site("own", 0.7, right, None, own=True), plots.Site("new", 0.6, right, 50, own=False)]
    [axis] = plots.sites({"part": rows}).axes
    drawn = [tuple(map(float, (*line.get_xdata(), *line.get_ydata()))) for line in axis.lines]
    for place, site in enumerate(rows):
        assert (site.stated, place) in drawn
        assert (0.4, place) in drawn
        assert (0.4, site.stated, place, place) in drawn
    ends = [segment[:, 0].tolist() for c in axis.collections for segment in c.get_segments()]
    assert ends == [pytest.approx([0.3, 0.55])] * 2
    assert [label.get_text() for label in axis.get_yticklabels()] == ["own *\nn = 35", "new\n35 of 50 read"]


def test_maps_show_the_grids_they_were_given_with_zero_in_the_middle(plots: ModuleType) -> None:
    picture = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    fall, look = np.array([[0.5, -1.25], [0.0, 0.1]]), np.array([[0.1, 0.4], [0.3, 0.2]])
    figure = plots.maps([plots.Maps("arm", picture, {"blanked": fall}, {"attention": look})])
    shown = [axis.images[0] for axis in figure.axes]
    assert [
        np.array_equal(image.get_array(), given)
        for image, given in zip(shown, (picture, fall, look), strict=True)
    ] == [True] * 3
    assert shown[1].get_clim() == (-1.25, 1.25)
    assert [axis.get_xlabel() for axis in figure.axes] == ["", "−1.25 to +1.25", "0 to 40%"]
    assert [axis.get_title() for axis in figure.axes] == ["picture", "blanked", "attention"]


def test_evidence_for_points_right_and_against_left_on_a_logarithmic_scale(plots: ModuleType) -> None:
    figure = plots.ratios(
        "case", [plots.Ratio("no pain", 0.5), plots.Ratio("cough", 40.0), plots.Ratio("fever", 2.0)]
    )
    [axis] = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["cough", "fever", "no pain"]
    assert [bar.get_width() for bar in axis.patches] == pytest.approx(np.log10([40, 2, 0.5]))
    assert [text.get_text() for text in axis.texts] == ["×40", "×2", "×0.5"]
    ticks = dict(zip([t.get_text() for t in axis.get_xticklabels()], axis.get_xticks(), strict=True))
    assert ticks["10"] == pytest.approx(1)
    colours = [bar.get_facecolor() for bar in axis.patches]
    assert colours[0] == colours[1] != colours[2]


def test_a_curve_of_waits_passes_the_share_within_the_limit(plots: ModuleType) -> None:
    soon = plots.Waits(
        "ours", np.array([400.0, 60.0, 120.0, 299.0]), {"value": 0.75, "low": 0.3, "high": 0.954, "n": 4}
    )
    late = plots.Waits(
        "theirs", np.array([0.0, 900.0, 1200.0, 1500.0]), {"value": 0.25, "low": 0.046, "high": 0.7, "n": 4}
    )
    [axis] = plots.waits({"a day": [soon, late]}, 300.0).axes
    for line, share in zip(axis.lines[:2], (0.75, 0.25), strict=True):
        minutes, reached = line.get_xdata(), line.get_ydata()
        assert reached[np.flatnonzero(minutes <= 5)[-1]] == share
        assert reached[-1] == 1
    assert [t.get_text() for t in axis.get_legend().get_texts()] == [
        "ours: 75.0%\n(30.0%–95.4%)",
        "theirs: 25.0%\n(4.6%–70.0%)",
    ]
    assert axis.get_title() == "a day\nn = 4 emergencies"


def test_the_waits_are_those_of_the_simulation(cases: ModuleType) -> None:
    post = simulate.Post(surges=1)
    summary = simulate.simulate(post, 4, 7)
    ours, theirs = cases.simulated_waits(post, 4, 7)
    assert len(ours.seconds) == len(theirs.seconds) == summary["emergencies"] != 0
    for waits, key in ((ours, "acknowledged_within_5_min"), (theirs, "first_come_first_served_within_5_min")):
        assert waits.within == pytest.approx(summary[key], abs=1e-4)


def test_the_engines_plate_says_what_the_record_of_the_folds_says(cases: ModuleType) -> None:
    kept = json.loads(cases.RECORD.read_text(encoding="utf-8"))["heads"]["chest-xray.adult"]
    folds, probability, right = cases.kept("chest-xray.adult", "image")
    error = calibration.expected_calibration_error(folds.cross_fitted("image")[0], np.array(kept["label"]))
    assert gap_of(cases.bins(probability.max(1), right, folds.groups, "count")) == pytest.approx(
        error, abs=1e-12
    )


def test_a_plate_is_a_small_png_and_the_same_each_time(plots: ModuleType, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        size = plots.save(plots.ratios("case", [plots.Ratio("cough", 4.0)]), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "b.png").stat().st_size == size <= plots.MOST_BYTES
    with Image.open(tmp_path / "a.png") as image:
        assert (image.format, image.width) == ("PNG", 910)


def test_the_palette_keeps_a_rare_colour_of_a_map_beside_a_photo(plots: ModuleType, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    photo = rng.normal([190, 150, 130], 12, (64, 64, 3)).astype(np.uint8)
    fall = np.tile(np.linspace(0.2, 1, 8), (8, 1))
    fall[7, 7] = -0.6  # one cell against
    figure = plots.maps([plots.Maps("arm", photo, {"blanked": fall}, {})])
    plots.save(figure, tmp_path / "map.png")
    wanted = np.array(plots.FALLS((-0.6 + 1) / 2, bytes=True)[:3], int)
    with Image.open(tmp_path / "map.png") as image:
        gap = np.abs(np.asarray(image.convert("RGB"), int) - wanted).max(axis=2)
    box = figure.axes[1].get_window_extent()
    cell = (box.width * plots.DOTS_PER_INCH / figure.dpi / 8) ** 2
    assert (gap <= 12).sum() > 0.8 * cell


def test_a_plate_that_is_too_large_is_not_written(plots: ModuleType, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    rows = [plots.Maps("noise", noise, {"same": noise[..., 0] / 1.0}, {})] * 2
    with pytest.raises(InputError, match=r"large\.png: expected at most 61,440 bytes, found \d"):
        plots.save(plots.maps(rows), tmp_path / "large.png")
    assert not (tmp_path / "large.png").exists()


def test_what_is_absent_is_skipped_with_its_reason_and_the_page_stays(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "index.md").write_text("as it was", encoding="utf-8")
    skipped = ("calibration-differential", "reliability-sites")
    command = ["gallery.py", "--out", str(tmp_path), "--data", str(tmp_path / "none"), "--only", *skipped]
    monkeypatch.setattr("sys.argv", command)
    load("gallery").main()
    said = capsys.readouterr().out
    for name in skipped:
        assert re.search(f"skipped: {name}: .*expected the research data, found no such folder", said)
    assert [path.name for path in tmp_path.iterdir()] == ["index.md"]
    assert (tmp_path / "index.md").read_text(encoding="utf-8") == "as it was"


def test_one_plate_alone_is_drawn_and_named(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = load("gallery")
    few = functools.partial(gallery.cases.simulated_waits, days=3, seed=5)
    monkeypatch.setattr(gallery.cases, "simulated_waits", few)
    monkeypatch.setattr("sys.argv", ["gallery.py", "--out", str(tmp_path), "--only", "queue-waits"])
    gallery.main()
    post = simulate.Post()
    people = [simulate.arrivals(post, random.Random(f"5 {day}")) for day in range(3)]
    emergencies = sum(arrival.level == "red" for day in people for arrival in day)
    assert f"n = {emergencies} and " in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["queue-waits.png"]


def test_the_kept_gallery_is_whole_and_light(load: Load) -> None:
    page = (KEPT / "index.md").read_text(encoding="utf-8")
    pictures = sorted(KEPT.glob("*.png"))
    named = re.findall(r"!\[[^]]+\]\((\S+)\.png\)", page)
    assert named == re.findall(r"--only (\S+)`", page) == list(load("gallery").PLATES)
    assert sorted(named) == [path.stem for path in pictures]
    assert max(path.stat().st_size for path in pictures) <= 60 * 1024
    assert sum(path.stat().st_size for path in pictures) <= 400 * 1024
