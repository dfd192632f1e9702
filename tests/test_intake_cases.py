"""Cases come in whole, or the slip is asked back with the field named."""

from __future__ import annotations

import io
import json
import sys
import tracemalloc
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from akazuba.errors import CaseError, InputError
from akazuba.intake import cases, checks
from akazuba.intake.cases import CaseLine, parse_case, read_cases
from akazuba.records import Case


def parsed(value: object) -> Case:
    return parse_case(json.dumps(value).encode(), "c.json")


def refusal(value: object) -> CaseError:
    with pytest.raises(CaseError) as caught:
        parsed(value)
    return caught.value


# --- one field at a time ------------------------------------------------------------------------


READ = {"vital": "spo2_percent", "sensor": "oximeter", "value": 93, "at": "2026-11-29T10:42:00+02:00"}


@pytest.mark.parametrize(
    ("fields", "item", "expected", "found"),
    [
        (
            {"vitals": {"temperature_c": 98.6}},
            "vitals.temperature_c",
            "25 to 45 °C",
            "°F: that would be 37.0 °C",
        ),
        ({"vitals": {"temperature_c": 385}}, "vitals.temperature_c", "25 to 45 °C", "would be 38.5 °C"),
        ({"vitals": {"temperature_c": "37,5"}}, "vitals.temperature_c", "25 to 45 °C", "37.5 without quotes"),
        ({"vitals": {"spo2_percent": 0.93}}, "vitals.spo2_percent", "20 to 100 %", "that would be 93 %"),
        ({"vitals": {"glucose_mmol_l": 98}}, "vitals.glucose_mmol_l", "36 mmol/L", "would be 5.4 mmol/L"),
        ({"vitals": {"glucose_mmol_l": 54}}, "vitals.glucose_mmol_l", "36 mmol/L", "would be 3.0 mmol/L"),
        ({"vitals": {"systolic_mmhg": "120/80"}}, "vitals.systolic_mmhg", "mmHg", "two fields"),
        ({"vitals": {"systolic_mmhg": 12}}, "vitals.systolic_mmhg", "more than 25 mmHg", "would be 120 mmHg"),
        ({"vitals": {"heart_rate_bpm": -1}}, "vitals.heart_rate_bpm", "0 to 350 beats a minute", "-1"),
        (
            {"vitals": {"consciousness": "V"}},
            "vitals.consciousness",
            "alert, confused",
            "did you mean voice?",
        ),
        ({"vitals": {"on_oxygen": "no"}}, "vitals.on_oxygen", "true or false", "'no'"),
        ({"patient": {"age_years": -3}}, "patient.age_years", "0 to 125 years", "-3"),
        ({"patient": {"age_years": 1990}}, "patient.age_years", "years", "a year of birth"),
        ({"patient": {"sex": "F"}}, "patient.sex", "female, male", "did you mean female?"),
        ({"patient": {"height_cm": 1.65}}, "patient.height_cm", "20 to 260 cm", "that would be 165 cm"),
        ({"patient": {"weight_kg": 0}}, "patient.weight_kg", "0.3 to 400 kg", "0"),
        ({"patient": None}, "patient", "an object", "null"),
        ({"medications": [{"name": "x"}] * 61}, "medications", "a list of at most 60", "a list of 61"),
        ({"answers": {f"q{n}": 1 for n in range(501)}}, "answers", "at most 500 names", "of 501 names"),
        ({"gestational_age_weeks": 210}, "gestational_age_weeks", "0 to 45 weeks", "would be 30.0 weeks"),
        (
            {"images": [{"path": "a", "kind": "chest-xray"}, {"path": "b", "kind": "X"}]},
            "images[1].kind",
            "-xray",
            "'X'",
        ),
        ({"images": [{"path": "a"}]}, "images[0].kind", "chest-xray", "nothing"),
        ({"labs": [{"loinc": "Hb", "value": 9, "unit": "g/dL"}]}, "labs[0].loinc", "718-7", "'Hb'"),
        ({"medications": [{"name": "x", "dose_mg": 0}]}, "medications[0].dose_mg", "above 0 mg", "0"),
        ({"allergies": "penicillin"}, "allergies", "a list", "'penicillin'"),
        ({"note": "x" * 1_000_000}, "note", "at most 20000 characters", "1000000 characters"),
        ({"note": 3}, "note", "characters", "3"),
        ({"language": "English"}, "language", "small letters such as en", "'English'"),
        ({"date": "14/03/2026"}, "date", "year-month-day such as 2026-03-14", "'14/03/2026'"),
        ({"date": "2026-02-30"}, "date", "a day that exists", "2026-02-30"),
        ({"date": "0026-03-14"}, "date", "1900-01-01 to", "0026-03-14"),
        ({"setting": {"country": "Rwanda"}}, "setting.country", "two capitals", "'Rwanda'"),
        ({"setting": {"hiv_prevalence": 2.6}}, "setting.hiv_prevalence", "0 to 1", "2.6"),
    ],
)
def test_a_slip_is_asked_back_with_its_field_what_was_expected_and_what_was_found(
    fields: dict[str, Any], item: str, expected: str, found: str
) -> None:
    error = refusal({"id": "c1", **fields})
    assert error.item == item
    assert expected in error.expected
    assert found in error.found


@pytest.mark.parametrize(
    ("fields", "item", "words"),
    [
        ({"vitals": {"systolic_mmhg": 80, "diastolic_mmhg": 120}}, "vitals.diastolic_mmhg", "80 mmHg"),
        ({"vitals": {"systolic_mmhg": 0, "diastolic_mmhg": 40}}, "vitals.systolic_mmhg", "40 mmHg"),
        ({"vitals": {"heart_rate_bpm": 0, "consciousness": "alert"}}, "vitals.heart_rate_bpm", "leave out"),
        ({"patient": {"age_years": 2, "age_months": 6}}, "patient.age_years", "age_months 30 alone"),
        ({"patient": {"age_months": 3, "age_days": 3}}, "patient.age_months", "age_days 3"),
        ({"patient": {"sex": "male", "pregnant": True}}, "patient.pregnant", "male"),
        (
            {"patient": {"age_years": 30, "pregnant": False}, "gestational_age_weeks": 20},
            "gestational_age_weeks",
            "20",
        ),
        (
            {"findings": [{"id": "HP:0012735"}, {"id": "HP:0012735", "present": False}]},
            "findings[1]",
            "HP:0012735",
        ),
        ({"vitals": {"spo2_percent": 95}, "sensed": [READ]}, "sensed[0].value", "spo2_percent (95)"),
        ({"sensed": [READ]}, "sensed[0].value", "not assessed"),
        ({"vitals": {"spo2_percent": 93}, "sensed": [READ, READ]}, "sensed[1]", "two for spo2_percent"),
        ({"sensed": [READ | {"vital": "weight_kg"}]}, "sensed[0].vital", "weight_kg"),
        ({"sensed": [READ | {"at": "10:42"}]}, "sensed[0].at", "2026-11-29T10:42:00+02:00"),
        (
            {"vitals": {"spo2_percent": 93}, "sensed": [READ | {"at": "2026-02-30T10:42:00Z"}]},
            "sensed[0].at",
            "2026-02-30",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields: dict[str, Any], item: str, words: str) -> None:
    error = refusal({"id": "c1", **fields})
    assert error.item == item
    assert words in str(error)


@pytest.mark.parametrize(
    "fields",
    [
        {"vitals": {"systolic_mmhg": 0, "heart_rate_bpm": 0, "consciousness": "unresponsive"}},
        {"patient": {"age_years": 2, "age_months": 30}},
        {"patient": {"age_months": 1, "age_days": 40}},
        {"patient": {"age_days": 3, "sex": "male"}, "gestational_age_weeks": 39},
        {"vitals": {"temperature_c": None}, "note": ""},
        {"findings": [{"id": "HP:0012735"}, {"id": "HP:0012735"}]},
        {"vitals": {"spo2_percent": 93, "heart_rate_bpm": 80}, "sensed": [READ]},
    ],
)
def test_what_can_be_true_is_taken(fields: dict[str, Any]) -> None:
    assert parsed({"id": "c1", **fields}).id == "c1"


def test_an_unknown_field_is_named_and_the_nearest_known_one_suggested() -> None:
    error = refusal({"id": "c1", "vitals": {"temprature_c": 38}})
    assert error.item == "vitals.temprature_c"
    assert "did you mean temperature_c?" in error.expected


def test_absent_stays_absent() -> None:
    case = parsed({"id": "c1"})
    assert case.vitals.temperature_c is None
    assert case.patient.age_in_years is None


def test_a_date_after_today_is_refused_only_when_a_clock_is_trusted() -> None:
    text = b'{"id": "c1", "date": "2062-03-14"}'
    assert parse_case(text, "c").date == "2062-03-14"
    with pytest.raises(CaseError, match=r"date: expected 1900-01-01 to 2026-03-14"):
        parse_case(text, "c", today=date(2026, 3, 14))


def test_every_number_with_a_range_has_a_unit() -> None:
    def numbers(kind: msgspec.inspect.Type) -> set[str]:
        kind = checks._bare(kind)
        if isinstance(kind, msgspec.inspect.VarTupleType):
            return numbers(kind.item_type)
        if not isinstance(kind, msgspec.inspect.StructType):
            return set()
        own = {
            field.name
            for field in kind.fields
            if isinstance(bare := checks._bare(field.type), msgspec.inspect.FloatType)
            and (bare.ge is not None or bare.gt is not None)
        }
        return own.union(*(numbers(field.type) for field in kind.fields))

    assert numbers(msgspec.inspect.type_info(Case)) == set(checks.UNITS)


# --- JSON ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "item", "words"),
    [
        (b"", "c", "nothing"),
        (b"hello", "c", "line 1, column 1"),
        (b'{"id": "c1"', "c", "ends too early"),
        (b"<Bundle/>", "c", "FHIR is read as JSON"),
        (b"[]", "c", "NDJSON"),
        (b"3", "case", "an object"),
        (b'{"id": "c1", "id": "c2"}', "'id'", "twice"),
        (b'{"id": "c1", "vitals": {"temperature_c": 37, "temperature_c": 39}}', "'temperature_c'", "twice"),
        (b'{"id": "c1", "vitals": {"temperature_c": NaN}}', "vitals.temperature_c", "25 to 45 °C, found NaN"),
        (b'{"id": "c1", "vitals": {"heart_rate_bpm": -Infinity}}', "vitals.heart_rate_bpm", "too large"),
        (
            b'{"id": "c1", "labs": [{"loinc": "1-1", "value": 1e999, "unit": "g"}]}',
            "labs[0].value",
            "too large",
        ),
        (
            b'{"id": "c1", "vitals": {"heart_rate_bpm": ' + b"9" * 10_000 + b"}}",
            "vitals.heart_rate_bpm",
            "too large",
        ),
        (b'{"id": "c1", "note": "\\ud800"}', "note", "surrogate"),
        (b'{"id": "c1", "note": "\xff"}', "c", "UTF-8, found byte 0xff"),
        (b'{"id": ' + b"[" * 100_000, "c", "nesting"),
        (b'{"id": ' + b"[" * 100 + b"]" * 100 + b"}", "id[0][0]", "32 levels"),
    ],
)
def test_json_that_cannot_be_a_case_is_refused_in_words(text: bytes, item: str, words: str) -> None:
    with pytest.raises(CaseError) as caught:
        parse_case(text, "c")
    assert caught.value.item == item
    assert words in str(caught.value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([98.6, "F", "c1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=4)
            | st.sampled_from(
                ["id", "patient", "vitals", "findings", "images", "kind", "temperature_c", "age_years"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_json_value_gives_a_case_or_a_case_error(value: object) -> None:
    fuzzed(json.dumps(value).encode())


@given(
    st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_any_bytes_give_a_case_or_a_case_error(data: bytes) -> None:
    fuzzed(data)


def fuzzed(data: bytes) -> None:
    try:
        assert isinstance(parse_case(data, "fuzz"), Case)
    except CaseError as error:
        str(error).encode()  # the message itself can be printed


def values_of(kind: msgspec.inspect.Type) -> st.SearchStrategy[Any]:  # noqa: C901, PLR0911 - one line a kind
    """Every value that a field of a case may take."""
    match kind:
        case msgspec.inspect.Metadata():
            return values_of(kind.type)
        case msgspec.inspect.UnionType():
            return st.one_of([values_of(part) for part in kind.types])
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.FloatType():
            low = kind.ge if kind.gt is None else kind.gt
            return st.floats(
                low, kind.le, allow_nan=False, allow_infinity=False, exclude_min=kind.gt is not None
            )
        case msgspec.inspect.LiteralType():
            return st.sampled_from(kind.values)
        case msgspec.inspect.StrType(pattern=str(pattern)):
            return st.from_regex(pattern.removesuffix("$"), fullmatch=True)
        case msgspec.inspect.StrType():
            return st.text(min_size=kind.min_length or 0, max_size=20)
        case msgspec.inspect.VarTupleType():
            return st.lists(values_of(kind.item_type), max_size=2).map(tuple)
        case msgspec.inspect.DictType():
            return st.dictionaries(values_of(kind.key_type), values_of(kind.value_type), max_size=2)
        case msgspec.inspect.StructType():
            return st.builds(kind.cls, **{field.name: values_of(field.type) for field in kind.fields})
        case _:
            raise AssertionError(kind)


@given(values_of(msgspec.inspect.type_info(Case)), st.none() | st.dates(date(1900, 1, 1)))
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
def test_a_case_written_as_json_reads_as_itself(case: Case, day: date | None) -> None:
    patient = msgspec.structs.replace(case.patient, age_months=None, age_days=None)
    sensed = tuple(
        msgspec.structs.replace(read, value=there, at=READ["at"])
        for read in {read.vital: read for read in case.sensed}.values()
        if (there := getattr(case.vitals, read.vital)) is not None
    )
    case = msgspec.structs.replace(case, patient=patient, sensed=sensed, date=day and day.isoformat())
    try:
        checks.refuse_contradictions(case)
    except CaseError:
        return
    assert parse_case(msgspec.json.encode(case), "c") == case


# --- files --------------------------------------------------------------------------------------


def read(tmp_path: Path, content: bytes, name: str = "cases.ndjson") -> list[CaseLine]:
    path = tmp_path / name
    path.write_bytes(content)
    return list(read_cases(str(path)))


def test_a_bad_line_gets_its_error_and_the_others_their_case(tmp_path: Path) -> None:
    lines = read(
        tmp_path, b'{"id": "a"}\n\n{"id": "b", "vitals": {"temperature_c": 98.6}}\nnot json\n{"id": "d"}\n'
    )
    assert [line.item.rsplit(":")[-1] for line in lines] == ["1", "3", "4", "5"]
    assert [line.case is not None for line in lines] == [True, False, False, True]
    assert [line.case_id for line in lines] == ["a", "b", lines[2].item, "d"]
    assert lines[1].error is not None
    assert lines[1].error.item == "vitals.temperature_c"


@pytest.mark.parametrize("first", [b"not json", b'{"id": "a", ', b'{"id": "a", "note": "\xe9"}'])
def test_a_bad_first_line_does_not_cost_the_batch(tmp_path: Path, first: bytes) -> None:
    lines = read(tmp_path, first + b'\n{"id": "b"}\n{"id": "c"}\n')
    assert [line.case_id for line in lines if line.case] == ["b", "c"]
    assert lines[0].error is not None


def test_a_printed_case_over_many_lines_is_one_case(tmp_path: Path) -> None:
    text = json.dumps({"id": "a", "vitals": {"temperature_c": 38}, "allergies": []}, indent=2)
    lines = read(tmp_path, text.encode(), "case.json")
    assert [line.case_id for line in lines] == ["a"]
    assert lines[0].item == str(tmp_path / "case.json")
    assert lines[0].base == tmp_path


def test_a_printed_case_that_ends_too_early_is_one_error(tmp_path: Path) -> None:
    lines = read(tmp_path, b'{\n  "id": "a",\n  "vitals": {\n', "case.json")
    assert len(lines) == 1
    assert "ends too early" in str(lines[0].error)


def test_byte_order_mark_and_windows_line_ends_are_taken_and_do_not_change_the_digest(tmp_path: Path) -> None:
    plain = read(tmp_path, b'{"id": "a"}\n{"id": "b"}\n')
    windows = read(tmp_path, b'\xef\xbb\xbf{"id": "a"}\r\n{"id": "b"}\r\n')
    assert [line.input_sha256 for line in plain] == [line.input_sha256 for line in windows]
    assert all(line.case for line in windows)


def test_a_line_over_the_limit_is_refused_and_the_next_read(tmp_path: Path) -> None:
    huge = b'{"id": "a", "note": "' + b"x" * (5 * cases.MAX_CASE_BYTES) + b'"}\n'
    path = tmp_path / "huge.ndjson"
    path.write_bytes(huge + b'{"id": "b"}\n')
    del huge
    tracemalloc.start()
    first, second = read_cases(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "at most 2 MiB" in str(first.error)
    assert first.case_id == "a"
    assert second.case_id == "b"
    assert peak < 4 * cases.MAX_CASE_BYTES


def test_a_batch_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "many.ndjson"
    line = b'{"id": "c", "note": "' + b"x" * 1000 + b'"}\n'
    path.write_bytes(line * 3000)
    tracemalloc.start()
    assert sum(1 for _ in read_cases(str(path))) == 3000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"\xef\xbb\xbf \n\n", "an empty file"),
        ('{"id": "a"}'.encode("utf-16"), "UTF-16"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "no such text"),
        (b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", "no such text"),
    ],
)
def test_a_file_that_is_no_text_is_refused_as_a_whole(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(tmp_path, content)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.json: expected a file, found nothing"):
        list(read_cases(str(tmp_path / "missing.json")))
    with pytest.raises(InputError, match="a folder"):
        list(read_cases(str(tmp_path)))


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b'{"id": "a"}\n{"id": "b"}\n'))
    monkeypatch.setattr(sys, "stdin", stdin)
    lines = list(read_cases("-"))
    assert [line.item for line in lines] == ["stdin:1", "stdin:2"]
    assert lines[0].base == Path()


def test_a_bundle_is_recognised_on_one_line_or_many(tmp_path: Path) -> None:
    bundle = {
        "resourceType": "Bundle",
        "entry": [{"resource": {"resourceType": "Patient", "gender": "male"}}],
    }
    for indent in (None, 1):
        (line,) = read(tmp_path, json.dumps(bundle, indent=indent).encode(), "b.json")
        assert line.error is None
        assert line.case is not None
        assert line.case.patient.sex == "male"


def test_a_bundle_may_be_longer_than_a_case(tmp_path: Path) -> None:
    patient = {"resourceType": "Patient", "text": {"div": "x" * (3 * 1024**2)}}
    bundle = {"resourceType": "Bundle", "entry": [{"resource": patient}]}
    for indent in (None, 1):
        (line,) = read(tmp_path, json.dumps(bundle, indent=indent).encode(), "b.json")
        assert line.error is None
