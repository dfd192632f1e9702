"""Which size of the engine a box runs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from akazuba.diagnosis import artefacts, profiles
from akazuba.diagnosis.profiles import Measured, choice, chosen, installed, measure
from akazuba.errors import ArtefactError, InputError
from akazuba.settings import from_environ

FAST, SLOW, LARGE = Measured(12.0, 99.0), Measured(80.0, 99.0), Measured(12.0, 200.0)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Measures by a table instead of by a clock; returns the names that were measured, in order."""

    def set_up(**table: Measured) -> list[str]:
        asked: list[str] = []

        def look_up(folder: Path, _: int) -> Measured:
            asked.append(folder.name)
            return table[folder.name]

        monkeypatch.setattr(profiles, "measure", look_up)
        return asked

    return set_up


def with_full(home: Path) -> Path:
    folder = home / "models" / "full"
    shutil.copytree(artefacts.SHIPPED / "tiny", folder)
    return folder


def test_the_largest_profile_that_keeps_to_the_limits_is_chosen(
    tmp_path: Path, measured: Callable[..., list[str]]
) -> None:
    asked = measured(full=LARGE, student=FAST, tiny=FAST)
    assert chosen("", tmp_path, 2) == artefacts.SHIPPED / "student"
    assert asked == ["student"]
    with_full(tmp_path)
    assert chosen("", tmp_path, 2) == artefacts.SHIPPED / "student"
    assert asked == ["student", "full", "student"]


def test_a_slow_box_takes_the_smallest(tmp_path: Path, measured: Callable[..., list[str]]) -> None:
    measured(student=SLOW, tiny=SLOW)
    assert chosen("", tmp_path, 2) == artefacts.SHIPPED / "tiny"


def test_a_box_measures_once_until_something_changes(
    tmp_path: Path, measured: Callable[..., list[str]]
) -> None:
    asked = measured(full=FAST, student=FAST, tiny=FAST)
    for _ in range(3):
        choice(tmp_path, 2)
    assert asked == ["student"]
    choice(tmp_path, 1)
    assert asked == ["student"] * 2
    with_full(tmp_path)
    assert choice(tmp_path, 1).profile == "full"


@pytest.mark.parametrize("damage", ["", "{", '{"key": 1}', "null"])
def test_a_damaged_answer_is_measured_again(
    tmp_path: Path, measured: Callable[..., list[str]], damage: str
) -> None:
    asked = measured(student=FAST, tiny=FAST)
    choice(tmp_path, 2)
    (tmp_path / "engine.json").write_text(damage)
    assert choice(tmp_path, 2).profile == "student"
    assert asked == ["student"] * 2


def test_a_folder_that_cannot_be_written_costs_only_the_memory_of_it(
    tmp_path: Path, measured: Callable[..., list[str]]
) -> None:
    (tmp_path / "file").write_text("")
    asked = measured(student=FAST, tiny=FAST)
    for _ in range(2):
        assert choice(tmp_path / "file", 2).profile == "student"
    assert asked == ["student"] * 2


def test_a_named_profile_is_taken_unmeasured(tmp_path: Path, measured: Callable[..., list[str]]) -> None:
    asked = measured()
    assert chosen("tiny", tmp_path, 2) == artefacts.SHIPPED / "tiny"
    folder = with_full(tmp_path)
    assert chosen("full", tmp_path, 2) == folder
    assert chosen(str(folder), tmp_path, 2) == folder
    assert asked == []


def test_a_named_profile_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for name in ("full", f"{tmp_path}/elsewhere", "/" + "x" * 5000):
        with pytest.raises(ArtefactError, match=r"expected a profile in .*, found no manifest\.json there"):
            chosen(name, tmp_path, 2)


def test_a_profile_that_cannot_run_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    shutil.copytree(artefacts.SHIPPED / "tiny", folder)
    (folder / "image.onnx").write_bytes(b"")
    with pytest.raises(ArtefactError, match="truncated or replaced"):
        measure(folder, 2)


def test_a_profile_that_is_ended_or_damaged_gives_way_to_a_smaller_one(
    tmp_path: Path, measured: Callable[..., list[str]]
) -> None:
    (with_full(tmp_path) / "image.onnx").write_bytes(b"")
    measured(full=Measured(), student=Measured(), tiny=FAST)
    assert choice(tmp_path, 2).profile == "tiny"


def test_a_damaged_full_profile_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = with_full(tmp_path)

    def fails(asked: Path, _: int) -> Measured:
        if asked == folder:
            raise ArtefactError(str(folder), "a whole file", "half of it")
        return FAST

    monkeypatch.setattr(profiles, "measure", fails)
    assert choice(tmp_path, 2).profile == "student"


def test_a_box_that_can_run_nothing_says_so(tmp_path: Path, measured: Callable[..., list[str]]) -> None:
    asked = measured(student=Measured(), tiny=Measured())
    for _ in range(2):
        with pytest.raises(ArtefactError, match="a profile that this box can run"):
            choice(tmp_path, 2)
    assert asked == ["student", "tiny"] * 2


def test_a_profile_that_takes_too_long_is_not_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "_SECONDS", 0.01)
    assert not measure(artefacts.SHIPPED / "tiny", 2).carries


def test_a_real_measurement_has_a_time_and_a_size() -> None:
    found = measure(artefacts.SHIPPED / "tiny", 2)
    assert found.latency_ms
    assert found.peak_rss_mb
    assert found.latency_ms > 0
    assert 20 < found.peak_rss_mb < 1000


def test_only_the_full_profile_may_be_absent(tmp_path: Path) -> None:
    assert list(installed(tmp_path)) == ["student", "tiny"]
    with_full(tmp_path)
    assert list(installed(tmp_path)) == ["full", "student", "tiny"]


def test_the_sizes_of_student_and_teacher_are_told(tmp_path: Path) -> None:
    sizes = profiles.sizes(tmp_path)
    manifest = json.loads((artefacts.SHIPPED / "student" / "manifest.json").read_text())
    assert sizes["teacher_bytes"] == manifest["teacher"]["bytes"]
    assert sizes["student_bytes"] == sum(file["bytes"] for file in manifest["files"].values())


def test_a_setting_that_names_no_profile_is_refused() -> None:
    with pytest.raises(InputError, match="AKAZUBA_ENGINE: expected full, student, tiny, or the path"):
        from_environ({"AKAZUBA_ENGINE": "huge"})
    assert from_environ({"AKAZUBA_ENGINE": "./models"}).engine == "./models"


def test_a_profile_that_takes_too_long_or_is_killed_is_not_carried_and_one_that_fails_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def too_long(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired(command, 60)

    monkeypatch.setattr(subprocess, "run", too_long)
    assert not measure(Path("student"), 1).carries
    for code, said in ((-9, ""), (1, "Traceback\nout of cheese\n"), (1, "")):
        done = subprocess.CompletedProcess(["akazuba"], code, "", said)
        monkeypatch.setattr(subprocess, "run", lambda *_, done=done, **__: done)
        if code < 0:
            assert measure(Path("student"), 1) == Measured()
        else:
            with pytest.raises(ArtefactError, match="out of cheese" if said else "no message"):
                measure(Path("student"), 1)
