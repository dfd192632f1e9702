"""Ranking: laws of probability, and what a reader may expect of each number."""

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from akazuba.diagnosis.differential import COVERAGE, SET_MASS, SHOWN, Ranking, rank
from akazuba.diagnosis.evidence import SAME_GROUP, Columns, columns_of, weigh
from akazuba.diagnosis.questions import AWAY_S, ask_next
from akazuba.errors import ArtefactError
from akazuba.knowledge.conditions import open_knowledge
from akazuba.records import Case, Finding, KnowledgeTable, ModelEvidence, Patient, Setting
from akazuba.terminology import Terminology

TABLE = open_knowledge().table
PLACE = {condition.id: place for place, condition in enumerate(TABLE.conditions)}
NOWHERE = Setting()
LAW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

findings = st.lists(
    st.builds(
        Finding,
        id=st.sampled_from([*TABLE.finding_ids, "HP:0000951", "HP:0002094", "HP:0000118", "test:unheard-of"]),
        name=st.just("a finding"),
        present=st.booleans(),
        uncertain=st.sampled_from([False, False, True]),
        source=st.sampled_from(["note", "nurse", "vitals"]),
    ),
    max_size=8,
)
patients = st.builds(
    Patient,
    age_years=st.none() | st.sampled_from([0.0, 0.5, 3.0, 17.0, 40.0, 90.0]),
    sex=st.sampled_from([None, "female", "male", "other"]),
)
SKIN_MODEL = ModelEvidence(
    "skin",
    {
        "melanoma": 4.0,
        "basal-cell-carcinoma": 0.5,
        "squamous-cell-carcinoma": 0.5,
        "actinic-keratosis": 0.5,
        "seborrhoeic-keratosis": 0.5,
        "melanocytic-naevus": 1.0,
    },
    reads_note=True,
)


def sign(id_: str, name: str = "", **more: object) -> Finding:
    return Finding(id_, name or id_, **more)


FEVER, COUGH = sign("HP:0001945", "Fever"), sign("HP:0012735", "Cough")
LESION = sign("HP:0011355", "Localized skin lesion", source="image")


@pytest.fixture(scope="module")
def columns(terminology: Terminology) -> Columns:
    return columns_of(TABLE, terminology.ancestors)


@pytest.fixture(scope="module")
def ranked(terminology: Terminology, columns: Columns):
    def run(
        *found: Finding,
        patient: Patient = Patient(age_years=30),  # noqa: B008 - frozen
        setting: Setting = NOWHERE,
        models: tuple[ModelEvidence, ...] = (),
        table: KnowledgeTable = TABLE,
    ) -> Ranking:
        on = columns if table is TABLE else columns_of(table, terminology.ancestors)
        return rank(on, found, patient, setting, models)

    return run


def weight_for(columns: Columns, condition: str, *found: Finding) -> float:
    """Sum of the log likelihood ratios that findings give a condition."""
    return float(sum(weight.log_lr[PLACE[condition]] for weight in weigh(columns, found)))


def share(ranking: Ranking, condition: str) -> float:
    return float(ranking.posterior[PLACE[condition]])


@LAW
@given(findings, patients, st.sampled_from([None, "none", "high"]), st.sampled_from([(), (SKIN_MODEL,)]))
def test_probabilities_sum_to_one_and_come_in_order(
    columns: Columns,
    found: list[Finding],
    patient: Patient,
    zone: str | None,
    models: tuple[ModelEvidence, ...],
) -> None:
    ranking = rank(columns, found, patient, Setting(malaria_zone=zone), models)
    assert ranking.posterior.sum() == pytest.approx(1)
    assert (ranking.posterior >= 0).all()
    assert 0 <= ranking.none_of_these <= 1
    probabilities = [candidate.probability for candidate in ranking.candidates]
    assert probabilities == sorted(probabilities, reverse=True)
    assert len(ranking.candidates) >= SHOWN or ranking.abstained
    assert ranking.abstained == (ranking.why is not None)


@LAW
@given(findings, st.randoms(use_true_random=False))
def test_the_order_of_findings_does_not_matter(columns: Columns, found: list[Finding], random) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)
    first, second = (rank(columns, order, Patient(), NOWHERE, (SKIN_MODEL,)) for order in (found, shuffled))
    assert np.array_equal(first.posterior, second.posterior)
    assert first.candidates == second.candidates


def test_typical_pictures_are_recognised(ranked) -> None:
    def first(*ids: str, **more: object) -> str:
        return ranked(*(sign(id_) for id_ in ids), **more).candidates[0].name

    assert first("HP:0012735", "HP:0031417", "HP:0025095", "HP:0033050") == "Common cold"
    assert first("HP:0001945", "HP:0012735", "HP:0030166", "HP:0001824") == "Pulmonary tuberculosis"
    assert first("HP:0001945", "AKZ:0000036", "HP:0025258", "HP:0000613") == "Meningitis"
    assert first("HP:0100518", "HP:0100515", patient=Patient(age_years=30, sex="female")) == (
        "Lower urinary tract infection"
    )
    zone = Setting(malaria_zone="high")
    assert first("HP:0001945", "HP:0025143", "test:malaria-rdt", setting=zone) == "Malaria, uncomplicated"


def test_an_absent_finding_lowers_the_condition_that_needs_it(ranked) -> None:
    unasked = ranked(COUGH)
    asked = ranked(COUGH, msgspec.structs.replace(FEVER, present=False))
    assert share(asked, "influenza") < share(unasked, "influenza")
    assert share(asked, "allergic-rhinitis") > share(unasked, "allergic-rhinitis")


def test_a_negative_test_lowers_what_it_tests_for(ranked) -> None:
    test = sign("test:malaria-rdt", source="test")
    ways = [(), (test,), (msgspec.structs.replace(test, present=False),)]
    unknown, positive, negative = (share(ranked(FEVER, *way), "malaria-uncomplicated") for way in ways)
    assert negative < unknown < positive


def test_only_the_patients_own_and_certain_findings_count(ranked) -> None:
    plain = ranked(COUGH)
    for other in ({"uncertain": True}, {"subject": "family"}, {"temporality": "past", "present": False}):
        assert np.array_equal(ranked(COUGH, sign("HP:0001945", **other)).posterior, plain.posterior)


def test_what_the_patient_had_counts_half_and_not_beside_what_is_now(columns: Columns) -> None:
    past = sign("HP:0001945", "Fever", temporality="past")
    now = weight_for(columns, "typhoid", FEVER)
    assert now > 0.5
    assert weight_for(columns, "typhoid", past) == pytest.approx(now / 2)
    assert weight_for(columns, "typhoid", FEVER, past) == now


def test_of_one_group_only_the_strongest_counts_in_full(columns: Columns) -> None:
    chills = sign("HP:0025143")
    apart = sorted(weight_for(columns, "malaria-uncomplicated", one) for one in (FEVER, chills))
    together = weight_for(columns, "malaria-uncomplicated", FEVER, chills)
    assert together == pytest.approx(apart[1] + SAME_GROUP * apart[0])
    assert weight_for(columns, "malaria-uncomplicated", FEVER, COUGH) == pytest.approx(
        weight_for(columns, "malaria-uncomplicated", FEVER)
        + weight_for(columns, "malaria-uncomplicated", COUGH)
    )


def test_a_finding_and_its_ancestor_count_once(ranked) -> None:
    productive = sign("HP:0031245")
    assert np.array_equal(ranked(productive, COUGH).posterior, ranked(productive).posterior)
    assert np.array_equal(ranked(COUGH, COUGH).posterior, ranked(COUGH).posterior)


def test_two_kinds_of_one_listed_finding_count_once(columns: Columns) -> None:
    """Two sorts of headache are one headache to a condition that lists only headache."""
    one, two = sign("HP:0002076"), sign("HP:0012228")
    assert weight_for(columns, "malaria-uncomplicated", one, two) == pytest.approx(
        weight_for(columns, "malaria-uncomplicated", one)
    )


def test_a_more_specific_finding_counts_for_what_lists_the_general_one(ranked, columns: Columns) -> None:
    dry, any_cough = ranked(sign("HP:0031246")), ranked(COUGH)
    listed = ~np.isnan(TABLE.sensitivity)
    general = listed[:, columns.place[COUGH.id]] & ~listed[:, columns.place["HP:0031246"]]
    odds = [ranking.posterior[:-1][general] / ranking.none_of_these for ranking in (dry, any_cough)]
    assert general.sum() > 10
    assert odds[0] == pytest.approx(odds[1])


def test_denying_the_general_denies_its_kinds(ranked) -> None:
    no_cough = msgspec.structs.replace(COUGH, present=False)
    assert share(ranked(FEVER, no_cough), "croup") < share(ranked(FEVER), "croup") / 5
    no_skin = sign("HP:0000951", present=False)
    assert share(ranked(FEVER, no_skin), "measles") < share(ranked(FEVER), "measles") / 5


def test_present_beats_absent(ranked) -> None:
    denied = msgspec.structs.replace(COUGH, present=False)
    assert np.array_equal(ranked(sign("HP:0031245"), denied).posterior, ranked(sign("HP:0031245")).posterior)
    assert np.array_equal(ranked(COUGH, denied).posterior, ranked(COUGH).posterior)


def test_age_sex_and_place_move_the_prior(ranked) -> None:
    abdomen = sign("AKZ:0000054")
    woman, man = (ranked(abdomen, patient=Patient(age_years=25, sex=sex)) for sex in ("female", "male"))
    assert share(man, "ectopic-pregnancy") < 1e-4 < share(woman, "ectopic-pregnancy")
    assert share(ranked(COUGH, patient=Patient(age_months=6)), "bronchiolitis") > 0.05
    assert share(ranked(COUGH, patient=Patient(age_years=40)), "bronchiolitis") < 1e-3
    low, high = (ranked(FEVER, setting=Setting(malaria_zone=zone)) for zone in ("none", "high"))
    assert share(low, "malaria-uncomplicated") < 0.02 < share(high, "malaria-uncomplicated")


def test_dangerous_conditions_are_listed_beyond_the_first_ten(ranked) -> None:
    ranking = ranked(FEVER)
    for place, condition in enumerate(TABLE.conditions):
        if condition.must_not_miss and ranking.posterior[place] >= 0.01:
            assert condition.name in {candidate.name for candidate in ranking.candidates}
    assert all(candidate.must_not_miss for candidate in ranking.candidates[SHOWN:])


def test_reasons_come_strongest_first_with_their_source(ranked) -> None:
    ranking = ranked(FEVER, COUGH, msgspec.structs.replace(sign("HP:0002013", "Vomiting"), present=False))
    for candidate in ranking.candidates:
        ratios = [item.likelihood_ratio for item in candidate.evidence]
        assert ratios == sorted(ratios, reverse=True)
        assert all(ratio > 1 for ratio in ratios)
        assert all(0.01 <= item.likelihood_ratio < 1 for item in candidate.evidence_against)
        assert candidate.review == "not yet reviewed by a clinician"
        assert "unverified" in candidate.source


def test_counterfactuals_say_what_would_change(ranked) -> None:
    ranking = ranked(FEVER, COUGH, sign("HP:0030166", "Night sweats"))
    [first, second] = ranking.candidates[0].counterfactuals
    assert first.if_ == "there were no night sweats"
    assert first.probability < ranking.candidates[0].probability
    absent = ranked(COUGH, msgspec.structs.replace(sign("HP:0030166", "Night sweats"), present=False), FEVER)
    flipped = share(absent, "tuberculosis-pulmonary")
    assert first.probability == pytest.approx(flipped, rel=0.3)  # but for the temperature, which stays
    assert second.if_ == "there were no cough"


def test_the_prediction_set_is_the_smallest_that_holds_its_mass(ranked) -> None:
    ranking = ranked(FEVER, COUGH)
    listed = np.sort(ranking.posterior[:-1])[::-1] / ranking.posterior[:-1].sum()
    size = len(ranking.prediction_set)
    assert listed[:size].sum() >= SET_MASS
    assert listed[: size - 1].sum() < SET_MASS
    assert ranking.coverage == COVERAGE
    assert ranking.prediction_set[0] == ranking.candidates[0].name


def test_nothing_known_is_no_answer(ranked) -> None:
    for nothing in ((), (sign("HP:0001945", uncertain=True),), (sign("HP:0001945", present=False),)):
        ranking = ranked(*nothing)
        assert (ranking.abstained, ranking.why, ranking.candidates) == (True, "no findings", ())
    pregnancy = sign("AKZ:0000041", source="nurse")
    assert ranked(pregnancy, patient=Patient(age_years=25, sex="female")).abstained


def test_a_finding_that_nobody_lists_is_no_answer_either(ranked) -> None:
    ranking = ranked(sign("HP:0001640"))  # cardiomegaly
    assert ranking.abstained
    assert "nothing is probable enough" in ranking.why


def test_the_image_model_is_one_more_likelihood_ratio(ranked) -> None:
    patient = Patient(age_years=60)
    with_image = ranked(LESION, patient=patient, models=(SKIN_MODEL,))
    without = ranked(LESION, patient=patient)
    before = share(without, "melanoma") / share(without, "melanocytic-naevus")
    after = share(with_image, "melanoma") / share(with_image, "melanocytic-naevus")
    assert after == pytest.approx(4 * before)
    assert any(item.source == "skin" for c in with_image.candidates for item in c.evidence)


def test_what_the_model_read_in_the_note_is_not_counted_twice(ranked) -> None:
    """Among the scored conditions the note's skin findings level out; against all others they stand."""
    grown = sign("AKZ:0000043", source="note")
    bare, told = (ranked(LESION, *more, models=(SKIN_MODEL,)) for more in ((), (grown,)))
    odds = [share(r, "melanoma") / share(r, "melanocytic-naevus") for r in (bare, told)]
    by_nurse = ranked(LESION, sign("AKZ:0000043", source="nurse"), models=(SKIN_MODEL,))
    assert share(by_nurse, "melanoma") / share(by_nurse, "melanocytic-naevus") > 3 * odds[0]
    assert odds[1] == pytest.approx(odds[0], rel=0.02)  # 0.98 against 0.97 for the lesion itself
    names = {TABLE.conditions[PLACE[id_]].name for id_ in SKIN_MODEL.likelihood_ratios}
    whole = [
        evidence.likelihood_ratio
        for candidate in told.candidates
        if candidate.name in names
        for evidence in candidate.evidence
        if evidence.finding.startswith("the note's skin findings as a whole")
    ]
    assert whole
    assert min(whole) > 10


def test_a_model_that_scores_an_unknown_condition_is_refused(ranked) -> None:
    with pytest.raises(ArtefactError, match="wart"):
        ranked(LESION, models=(ModelEvidence("skin", {"wart": 2.0}, reads_note=False),))


def test_the_next_question_is_informative_and_never_asks_what_is_known(ranked, columns: Columns) -> None:
    found = [FEVER, COUGH, sign("HP:0031417")]
    questions = ask_next(columns, ranked(*found).posterior, found, 3)
    assert len(questions) == 3
    assert len({question.id for question in questions}) == 3
    assert not {question.name for question in questions} & {"fever", "cough", "runny nose"}
    denied = [FEVER, msgspec.structs.replace(COUGH, present=False)]
    for question in ask_next(columns, ranked(*denied).posterior, denied, 50):
        assert "cough" not in question.name.split()


def test_a_test_that_is_not_done_here_costs_the_way(ranked, columns: Columns) -> None:
    posterior = ranked(FEVER).posterior

    def cost(id_: str, available: tuple[str, ...] | None) -> float:
        questions = ask_next(columns, posterior, [FEVER], 2000, tests_available=available)
        return next(question.cost_s for question in questions if question.id == id_)

    rapid, culture = "test:malaria-rdt", "test:blood-culture-salmonella"
    assert cost(rapid, None) == cost(rapid, ("malaria-rdt",)) == cost(rapid, ()) - AWAY_S
    assert cost(culture, None) == cost(culture, ()) == cost(culture, ("blood-culture-salmonella",)) + AWAY_S


def test_what_got_no_answer_is_not_asked_again(ranked, columns: Columns) -> None:
    posterior = ranked(FEVER).posterior
    first = ask_next(columns, posterior, [FEVER], 1)[0]
    assert first.id not in {q.id for q in ask_next(columns, posterior, [FEVER], 50, frozenset({first.id}))}


def test_questions_come_by_gain_for_their_cost(ranked, columns: Columns) -> None:
    """Each gain, recomputed the long way on the conditions that were weighed."""
    posterior = ranked(FEVER).posterior
    questions = ask_next(columns, posterior, [FEVER], 2000)
    values = [question.gain_nats / question.cost_s for question in questions]
    assert values == sorted(values, reverse=True)
    assert any(question.is_test for question in questions)
    assert {q.cost_s for q in questions if not q.is_test} == {30.0}

    def entropy(p: np.ndarray) -> float:
        p = p / p.sum()
        return float(-(p * np.log(p)).sum())

    top = np.argsort(-posterior[:-1], kind="stable")[:64]
    weights = np.append(posterior[top], 1 - posterior[top].sum())
    for question in questions[::40]:
        place = columns.place[question.id]
        background = columns.background[place]
        share_ = np.append(columns.sensitivity[top, place].astype(float), background)
        share_ = np.where(np.isnan(share_), background, share_)
        yes = float((weights * share_).sum())
        after = yes * entropy(weights * share_) + (1 - yes) * entropy(weights * (1 - share_))
        assert question.gain_nats == pytest.approx(entropy(weights) - after, abs=1e-9)


def test_case_defaults_are_enough_to_rank(ranked) -> None:
    case = Case("c")
    assert ranked(COUGH, patient=case.patient, setting=case.setting).candidates
