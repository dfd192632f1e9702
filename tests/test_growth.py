"""WHO growth: the tables' own medians and SDs, the restricted tails, what is not defined."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, strategies as st

from akazuba.cli import main
from akazuba.guidelines.growth import Growth, Measured, growth, z_score

PUBLISHED = Path(__file__).parents[2] / "shared" / "conformance" / "who_growth"


def scored(**measured: object) -> Growth:
    return growth(Measured(**measured))  # type: ignore[arg-type]


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published tables lie in ../shared")
@pytest.mark.parametrize(
    ("file", "indicator", "measure"),
    [("weianthro", "weight_for_age_z", "weight_kg"), ("lenanthro", "height_for_age_z", "height_cm")],
)
def test_every_day_of_the_standards_has_its_median_and_its_sds(
    file: str, indicator: str, measure: str
) -> None:
    with (PUBLISHED / f"{file}.txt").open(encoding="ascii") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    assert len(rows) == 2 * 1827
    for row in rows[:: 1 if indicator == "height_for_age_z" else 3]:
        l, m, s = (float(row[name]) for name in "lms")  # noqa: E741
        sex = "male" if row["sex"] == "1" else "female"
        for z in (-2, 0, 2):
            value = m * (1 + l * s * z) ** (1 / l)
            found = scored(sex=sex, age_days=float(row["age"]), **{measure: value})
            assert getattr(found, indicator) == pytest.approx(z, abs=0.005)


def test_the_tails_are_as_wide_as_between_the_second_and_the_third_sd() -> None:
    l, m, s = -0.35, 10.0, 0.1  # noqa: E741
    at = [m * (1 + l * s * z) ** (1 / l) for z in (2, 3)]
    beyond = at[1] + 1.5 * (at[1] - at[0])
    assert z_score(beyond, l, m, s, restricted=True) == pytest.approx(4.5)
    assert z_score(beyond, l, m, s, restricted=False) != pytest.approx(4.5, abs=0.01)
    low = [m * (1 + l * s * z) ** (1 / l) for z in (-2, -3)]
    assert z_score(low[1] - (low[0] - low[1]), l, m, s, restricted=True) == pytest.approx(-4)


@given(st.integers(0, 1826), st.sampled_from(["male", "female"]), st.floats(1, 40), st.floats(0.01, 5))
def test_a_heavier_child_never_scores_lower(days: int, sex: str, weight: float, more: float) -> None:
    light = scored(sex=sex, age_days=days, weight_kg=weight).weight_for_age_z
    heavy = scored(sex=sex, age_days=days, weight_kg=weight + more).weight_for_age_z
    assert light is not None
    assert heavy is not None
    assert heavy >= light


def test_a_length_measured_standing_is_made_a_lying_one_under_two_years() -> None:
    lying = scored(sex="female", age_days=700, height_cm=82.7, position="lying")
    standing = scored(sex="female", age_days=700, height_cm=82.0, position="standing")
    assert lying.height_for_age_z == standing.height_for_age_z
    older = scored(sex="female", age_days=800, height_cm=85.0, position="standing")
    assert (
        older.height_for_age_z
        == scored(sex="female", age_days=800, height_cm=85.7, position="lying").height_for_age_z
    )


@pytest.mark.parametrize(
    ("measured", "indicator", "why"),
    [
        ({"age_days": 600, "oedema": True, "weight_kg": 9, "height_cm": 75}, "weight_for_height_z", "oedema"),
        ({"weight_kg": 9}, "weight_for_age_z", "age not known"),
        ({"age_months": 130, "weight_kg": 30}, "weight_for_age_z", "not defined at this age"),
        (
            {"age_months": 70, "weight_kg": 20, "height_cm": 110},
            "weight_for_height_z",
            "not defined at this age",
        ),
        (
            {"age_days": 600, "weight_kg": 9, "height_cm": 130},
            "weight_for_height_z",
            "not defined at this height",
        ),
        ({"age_days": 600, "weight_kg": 9, "sex": None}, "weight_for_age_z", "sex not known"),
    ],
)
def test_what_is_not_defined_is_none_and_says_why(
    measured: dict[str, object], indicator: str, why: str
) -> None:
    found = scored(**{"sex": "male", **measured})
    assert getattr(found, indicator) is None
    assert found.why[indicator] == why


def test_an_unlikely_score_is_flagged() -> None:
    assert scored(sex="male", age_days=600, weight_kg=30).implausible == ("weight_for_age_z",)


def test_the_reference_follows_the_standards_without_a_gap() -> None:
    for days in range(1820, 1835):
        found = scored(sex="male", age_days=days, height_cm=110, weight_kg=18)
        assert found.height_for_age_z is not None
        assert found.weight_for_age_z is not None


def test_a_batch_answers_each_line_and_names_the_bad_one(tmp_path: Path) -> None:
    path = tmp_path / "children.ndjson"
    path.write_text(
        '{"id": "a", "sex": "male", "age_months": 24, "weight_kg": 12, "height_cm": 87, "oedema": false}\n'
        '{"id": "b", "sex": "boy", "age_months": 24}\n'
        '{"id": "c", "sex": "female", "age_days": 400, "weight_kg": 9}\n'
    )
    answered = CliRunner().invoke(main, ["growth", "--batch", str(path)])
    assert answered.exit_code == 1
    lines = [json.loads(line) for line in answered.stdout.splitlines()]
    assert [line["id"] for line in lines] == ["a", "b", "c"]
    assert lines[0]["weight_for_age_z"] is not None
    assert "line 2" in lines[1]["error"]
    assert lines[2]["height_for_age_z"] is None
