import msgspec
import pytest

from akazuba.records import Assessment, Case, Patient


def test_the_finest_age_given_wins() -> None:
    assert Patient(age_years=0, age_months=0, age_days=3).age_in_years == pytest.approx(3 / 365.25)
    assert Patient(age_years=34).age_in_years == 34
    assert Patient().age_in_years is None


def test_a_case_needs_only_its_id_and_assumes_nothing_else() -> None:
    case = msgspec.convert({"id": "x"}, Case)
    assert case.vitals.temperature_c is None
    assert case.patient.pregnant is None


def test_a_failed_case_carries_its_error_and_nothing_that_looks_like_an_assessment() -> None:
    encoded = msgspec.json.decode(msgspec.json.encode(Assessment("x", error="id: expected …, found …")))
    assert set(encoded) == {"case_id", "version", "error"}


def test_records_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Patient().age_years = 3  # type: ignore[misc]
