"""The last check before a dose is shown: maxima on both sides, allergies, cautions, interactions, names."""

from __future__ import annotations

from typing import Any

import pytest

from akazuba.errors import ArtefactError
from akazuba.guidelines.medicines import (
    CHILD_KG,
    MOST_NAMES,
    MOST_PIECES,
    TIMES_A_DAY,
    Formulary,
    Verdict,
    read_formulary,
)
from akazuba.guidelines.values import Kind, Unassessed, unknown_flag

KINDS: dict[str, Kind] = {"pregnant": "flag", "egfr": "number", "asthma": "flag"}

AMOXICILLIN = {
    "medicine": "amoxicillin",
    "unit": "mg",
    "max_single": "1000",
    "max_daily": "3000",
    "max_per_kg": "50",
    "groups": "penicillin | beta-lactam|",
    "source": "unverified",
}
ENALAPRIL = {
    **AMOXICILLIN,
    "medicine": "enalapril",
    "max_single": "20",
    "max_daily": "40",
    "max_per_kg": "",
    "groups": "ace-inhibitor|qt-prolonging",
}
CAUTION = {
    "medicine": "ace-inhibitor",
    "when": "pregnant",
    "if_unknown": "withhold",
    "says": "harms the unborn child",
    "source": "WHO 2023",
}
PAIR = {
    "one": "ace-inhibitor",
    "other": "spironolactone",
    "level": "caution",
    "says": "potassium rises",
    "source": "BNF",
}
SYNONYMS = [
    {"name": "augmentin", "means": "amoxicillin+clavulanic acid"},
    {"name": "amoxycillin", "means": "amoxicillin"},
]
NOBODY: dict[str, Any] = {"pregnant": False, "egfr": 90.0, "asthma": False}


def rows(**changed: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    files = {
        "medicines": [AMOXICILLIN, ENALAPRIL],
        "cautions": [CAUTION],
        "interactions": [PAIR],
        "synonyms": SYNONYMS,
    }
    return {f"{name}.csv": content for name, content in (files | changed).items()}


def formulary(**changed: list[dict[str, str]]) -> Formulary:
    return read_formulary(rows(**changed), KINDS)


# --- the hard maximum ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "frequency", "weight", "said"),
    [
        (1000, "three times daily", None, ""),
        (1000.001, "once", None, "1000 mg at once is over the maximum of 1000"),
        (1200, "once", None, "1200 mg at once is over the maximum of 1000"),
        (750, "four times daily", None, ""),
        (751, "four times daily", None, "3004 mg a day is over the maximum of 3000"),
        (1000, "every 6 hours", None, "4000 mg a day is over the maximum of 3000"),
        (500, "once", 10, ""),
        (501, "once", 10, "501 mg at once for 10 kg is over 50 mg per kg"),
        (1000, "once", 39.9, ""),
        (1000, "once", 15, "1000 mg at once for 15 kg is over 50 mg per kg"),
    ],
    ids=str,
)
def test_a_dose_is_right_at_the_maximum_and_too_much_beyond_it(
    amount: float, frequency: str, weight: float | None, said: str
) -> None:
    assert formulary().excess("amoxicillin", "mg", amount, frequency, weight) == said


def test_a_sum_that_is_off_by_rounding_is_not_too_much() -> None:
    meds = formulary(
        medicines=[{**AMOXICILLIN, "max_single": "0.3", "max_daily": "0.6", "max_per_kg": "0.1"}]
    )
    assert meds.excess("amoxicillin", "mg", 0.1 + 0.2, "twice daily", 3) == ""
    assert meds.excess("amoxicillin", "mg", 0.3 * (1 + 2e-9), "once", None) != ""
    assert meds.excess("amoxicillin", "mg", 0.2 * (1 + 2e-9), "once", 2) != ""
    daily = formulary(medicines=[{**AMOXICILLIN, "max_single": "0.6", "max_daily": "0.6"}])
    assert daily.excess("amoxicillin", "mg", 0.1 + 0.2, "twice daily", None) == ""
    assert daily.excess("amoxicillin", "mg", 0.3 * (1 + 2e-9), "twice daily", None) != ""


def test_the_maximum_per_kg_is_for_those_under_forty_kilograms() -> None:
    meds = formulary(medicines=[{**AMOXICILLIN, "max_per_kg": "20"}])
    assert "for 39.9 kg is over 20 mg per kg" in meds.excess("amoxicillin", "mg", 900, "once", 39.9)
    assert meds.excess("amoxicillin", "mg", 900, "once", CHILD_KG) == ""
    assert CHILD_KG == 40


def test_a_medicine_without_a_maximum_per_kg_needs_no_weight() -> None:
    assert formulary().weight_wanted("amoxicillin", "mg")
    assert not formulary().weight_wanted("enalapril", "mg")
    assert formulary().excess("enalapril", "mg", 20, "once", 3) == ""


def test_a_unit_that_is_not_listed_is_refused() -> None:
    with pytest.raises(KeyError):
        formulary().excess("amoxicillin", "tablet", 1, "once", None)
    with pytest.raises(KeyError):
        formulary().weight_wanted("nothing", "mg")


@pytest.mark.parametrize(
    ("frequency", "times"),
    [
        ("twice daily", 2),
        ("every 8 hours", 3),
        ("every 4 hours", 6),
        ("hourly", 24),
        ("every 10 minutes", 2),
        ("weekly", 1),
    ],
)
def test_a_frequency_is_so_many_doses_on_one_day(frequency: str, times: float) -> None:
    assert TIMES_A_DAY[frequency] == times


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("amoxicillin", {"amoxicillin"}),
        ("  AMOXICILLIN 500mg (1 tab)  ", {"amoxicillin"}),
        ("Amoxicillin 2.5 % syrup", {"amoxicillin"}),
        ("amoxicillin trihydrate", {"amoxicillin"}),
        ("amoxicilline", {"amoxicillin"}),
        ("amoxicíllin", {"amoxicillin"}),
        ("amoxycillin", {"amoxicillin"}),
        ("amoxycilline", {"amoxicillin"}),
        ("Augmentin", {"amoxicillin", "clavulanic acid"}),
        ("augmentine", {"amoxicillin", "clavulanic acid"}),
        ("amoxicillin/enalapril", {"amoxicillin", "enalapril"}),
        ("amoxicillin and enalapril", {"amoxicillin", "enalapril"}),
        ("amoxicillin & enalapril, spironolactone", {"amoxicillin", "enalapril", "spironolactone"}),
        ("xyzumab sodium", {"xyzumab"}),
        ("sodium", {"sodium"}),
        ("+ / ,", set()),
        ("500 mg", set()),
    ],
)
def test_a_written_name_has_these_parts(written: str, parts: set[str]) -> None:
    meds = formulary()
    assert meds.parts(written) == parts
    assert meds.parts(written) == parts  # as it was kept


def test_only_a_near_spelling_is_taken_for_a_name() -> None:
    meds = formulary()
    assert meds.parts("enalaprl") == {"enalapril"}
    assert meds.parts("enala") == {"enala"}
    assert meds.parts("enaloprin") == {"enaloprin"}  # as long, and another medicine for all we know
    assert meds.parts("enoxapril") == {"enoxapril"}
    assert meds.parts("enalaprilat xyz") == {"enalaprilat xyz"}


def test_a_long_list_is_not_searched_for_near_spellings() -> None:
    meds = formulary()
    few = "/".join(["amoxicilline", *(f"x{n}y" for n in range(MOST_PIECES - 1))])
    many = "/".join(["amoxicilline", "enalapril", *(f"x{n}y" for n in range(MOST_PIECES - 1))])
    assert "amoxicillin" in meds.parts(few)
    assert {"amoxicilline", "enalapril"} <= meds.parts(many)
    assert "xyzumab" in meds.parts(f"{many}/xyzumab sodium")
    assert "amoxicillin" not in meds.parts(many)


def test_no_more_than_so_many_names_are_kept() -> None:
    meds = formulary()
    for number in range(MOST_NAMES + 5):
        meds.parts(f"{number} mg")
    assert len(meds._read) == MOST_NAMES
    assert meds.parts("enalapril") == {"enalapril"}


def test_whether_every_part_is_known() -> None:
    meds = formulary()
    assert meds.knows("Augmentin 625 mg")
    assert meds.knows("enalapril/spironolactone")
    assert not meds.knows("enalapril/xyzumab")


def test_what_a_medicine_is_called() -> None:
    meds = formulary()
    assert meds.called("Amoxicillin 500 mg") == {
        "amoxicillin 500 mg",
        "amoxicillin",
        "penicillin",
        "beta-lactam",
    }
    assert {"penicillin", "clavulanic acid", "augmentin"} <= meds.called("  Augmentin ")
    assert meds.called("Xyzumab") == {"xyzumab"}


# --- may it be given? ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "allergy", ["penicillin", "Penicillins (rash)", "amoxycillin", "augmentin", "beta-lactam"]
)
def test_an_allergy_to_the_medicine_its_group_or_a_brand_withholds(allergy: str) -> None:
    verdict = formulary().judged("amoxicillin", (), (allergy,), NOBODY)
    assert verdict == Verdict(withheld=(f"allergy to {allergy}",))


def test_an_allergy_in_the_plural_is_one_to_the_group() -> None:
    efavirenz = {**ENALAPRIL, "medicine": "efavirenz", "groups": "arv"}
    meds = formulary(medicines=[AMOXICILLIN, ENALAPRIL, efavirenz])
    assert meds.judged("efavirenz", (), ("ARVs",), NOBODY).withheld == ("allergy to ARVs",)


def test_an_allergy_to_something_else_says_nothing() -> None:
    assert formulary().judged("enalapril", (), ("penicillin",), NOBODY) == Verdict()


def test_an_allergy_that_nobody_knows_is_looked_up() -> None:
    [check] = formulary().judged("enalapril", (), ("Xyzumab",), NOBODY).checks
    assert check == "allergy to Xyzumab: not recognised, make sure that it is not enalapril"


def test_who_is_allergic_to_one_medicine_is_not_allergic_to_all_with_its_effect() -> None:
    other = {**ENALAPRIL, "medicine": "ondansetron", "groups": "qt-prolonging"}
    meds = formulary(medicines=[AMOXICILLIN, ENALAPRIL, other])
    assert meds.judged("ondansetron", (), ("enalapril",), NOBODY) == Verdict()


@pytest.mark.parametrize(
    ("if_unknown", "pregnant", "expected"),
    [
        ("withhold", True, Verdict(withheld=("harms the unborn child (WHO 2023)",))),
        ("ask", True, Verdict(withheld=("harms the unborn child (WHO 2023)",))),
        ("pass", True, Verdict(withheld=("harms the unborn child (WHO 2023)",))),
        ("withhold", False, Verdict()),
        (
            "withhold",
            None,
            Verdict(
                withheld=("harms the unborn child: not known (pregnant not assessed)",),
                missing=frozenset({"pregnant"}),
            ),
        ),
        (
            "ask",
            None,
            Verdict(
                checks=("harms the unborn child: not known (pregnant not assessed)",),
                missing=frozenset({"pregnant"}),
            ),
        ),
        ("pass", None, Verdict()),
    ],
    ids=str,
)
def test_a_caution_withholds_asks_or_passes(
    if_unknown: str, pregnant: bool | None, expected: Verdict
) -> None:
    meds = formulary(cautions=[{**CAUTION, "if_unknown": if_unknown}])
    value = unknown_flag(frozenset({"pregnant"})) if pregnant is None else pregnant
    assert meds.judged("enalapril", (), (), {**NOBODY, "pregnant": value}) == expected
    assert meds.judged("amoxicillin", (), (), {**NOBODY, "pregnant": value}) == Verdict()


def test_all_that_a_caution_lacks_is_named() -> None:
    meds = formulary(cautions=[{**CAUTION, "when": "pregnant or egfr < 30"}, {**CAUTION, "when": "asthma"}])
    values = {
        "pregnant": unknown_flag(frozenset({"pregnant"})),
        "egfr": Unassessed(frozenset({"egfr"}), 0, 200),
        "asthma": unknown_flag(frozenset({"asthma"})),
    }
    verdict = meds.judged("enalapril", (), (), values)
    assert verdict.withheld[0].casefold() == "harms the unborn child: not known (egfr, pregnant not assessed)"
    assert verdict.missing == {"pregnant", "egfr", "asthma"}


@pytest.mark.parametrize(
    ("level", "given", "taken", "withheld"),
    [
        ("avoid", "enalapril", "spironolactone", True),
        ("avoid", "spironolactone", "enalapril 5 mg", True),
        ("caution", "enalapril", "Spironolactone 25 mg", False),
    ],
)
def test_an_interaction_counts_both_ways(level: str, given: str, taken: str, withheld: bool) -> None:
    verdict = formulary(interactions=[{**PAIR, "level": level}]).judged(given, (taken,), (), NOBODY)
    text = (f"with {taken}: potassium rises (BNF)",)
    assert verdict == (Verdict(withheld=text) if withheld else Verdict(checks=text))


def test_a_medicine_beside_one_that_does_not_matter_is_given() -> None:
    assert formulary().judged("enalapril", ("amoxicillin",), (), NOBODY) == Verdict()
    assert formulary().judged("amoxicillin", ("spironolactone",), (), NOBODY) == Verdict()
    assert formulary().judged("spironolactone", ("spironolactone",), (), NOBODY) == Verdict()


def test_a_medicine_that_nobody_knows_is_looked_up_and_the_rest_still_checked() -> None:
    verdict = formulary().judged("enalapril", ("Xyzumab", "spironolactone"), (), NOBODY)
    assert verdict.checks == (
        "takes Xyzumab, which is not recognised: look up whether it goes with enalapril",
        "with spironolactone: potassium rises (BNF)",
    )


def test_nothing_is_said_twice() -> None:
    meds = formulary(cautions=[CAUTION, CAUTION], interactions=[PAIR, PAIR])
    verdict = meds.judged("enalapril", ("spironolactone",), (), {**NOBODY, "pregnant": True})
    assert len(verdict.withheld) == len(verdict.checks) == 1


# --- the files ----------------------------------------------------------------------------------


def test_a_medicine_is_read_with_its_figures_and_groups() -> None:
    medicine = formulary().medicines["amoxicillin", "mg"]
    assert (medicine.name, medicine.unit, medicine.source) == ("amoxicillin", "mg", "unverified")
    assert (medicine.max_single, medicine.max_daily, medicine.max_per_kg) == (1000, 3000, 50)
    assert medicine.groups == {"penicillin", "beta-lactam"}


def test_two_units_of_a_medicine_share_their_groups() -> None:
    tablet = {**AMOXICILLIN, "unit": "tablet", "max_single": "2", "max_daily": "6", "groups": "tablet-form"}
    meds = formulary(medicines=[AMOXICILLIN, tablet, ENALAPRIL])
    assert meds.names["amoxicillin"] == {"amoxicillin", "penicillin", "beta-lactam", "tablet-form"}
    assert meds.excess("amoxicillin", "tablet", 3, "once", None)


def test_names_of_groups_pairs_and_brands_are_known_too() -> None:
    names = formulary(interactions=[{**PAIR, "other": "spironolactone+furosemide"}]).names
    for name in (
        "penicillin",
        "spironolactone",
        "furosemide",
        "spironolactone+furosemide",
        "clavulanic acid",
    ):
        assert names[name] == {name}


@pytest.mark.parametrize(
    ("file", "row", "changed", "said"),
    [
        (
            "medicines",
            AMOXICILLIN,
            {"max_single": "much"},
            "medicines.csv, amoxicillin (mg): expected numbers",
        ),
        ("medicines", AMOXICILLIN, {"max_per_kg": "much"}, "could not convert string to float: 'much'"),
        ("medicines", AMOXICILLIN, {"max_single": "0"}, "0 < max_single <= max_daily, found (0.0, 3000.0)"),
        (
            "medicines",
            AMOXICILLIN,
            {"max_single": "-1"},
            "medicines.csv, amoxicillin (mg): expected each once",
        ),
        ("medicines", AMOXICILLIN, {"max_daily": "999"}, "found (1000.0, 999.0)"),
        ("medicines", AMOXICILLIN, {"max_single": "nan"}, "medicines.csv, amoxicillin (mg)"),
        (
            "cautions",
            CAUTION,
            {"medicine": "xyzumab"},
            "cautions.csv, xyzumab: pregnant: expected a medicine or group",
        ),
        ("cautions", CAUTION, {"if_unknown": "guess"}, "withhold, ask or pass, found {'medicine'"),
        (
            "cautions",
            CAUTION,
            {"when": "pregnant ("},
            "cautions.csv, ace-inhibitor: pregnant (: expected a formula",
        ),
        (
            "cautions",
            CAUTION,
            {"when": "creatinine > 1"},
            "shared inputs, found a variable that is defined expected, 'creatinine'",
        ),
        (
            "interactions",
            PAIR,
            {"level": "perhaps"},
            "interactions.csv, ace-inhibitor and spironolactone: expected avoid or caution, found perhaps",
        ),
    ],
)
def test_an_unsound_row_is_refused_by_file_and_row(
    file: str, row: dict[str, str], changed: dict[str, str], said: str
) -> None:
    with pytest.raises(ArtefactError) as refusal:
        formulary(**{file: [{**row, **changed}]})
    assert said in str(refusal.value)


def test_a_repeated_row_is_refused() -> None:
    with pytest.raises(ArtefactError, match=r"medicines\.csv, amoxicillin \(mg\): expected each once"):
        formulary(medicines=[AMOXICILLIN, AMOXICILLIN])
    with pytest.raises(
        ArtefactError, match=r"synonyms\.csv, augmentin: expected each name once, found a rep"
    ):
        formulary(synonyms=[*SYNONYMS, SYNONYMS[0]])


def test_one_dose_may_be_the_whole_of_a_day() -> None:
    meds = formulary(medicines=[{**AMOXICILLIN, "max_daily": "1000"}], cautions=[])
    assert meds.excess("amoxicillin", "mg", 1000, "once daily", None) == ""
