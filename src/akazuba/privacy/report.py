"""The account of what left this box: as values for other programs, and in words for the patients it is about.

Times are UTC. The words explain epsilon as what it bounds: how much likelier your coming makes anything that
is said about you.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from akazuba.privacy.accounting import Budget, epsilon, total
from akazuba.privacy.ledger import Departure, Kind, Ledger, Protection, QuantumKeyUsed, State

WHAT: dict[Kind, str] = {
    "model-update": "what the box learned (a model update)",
    "statistics": "statistics",
    "message": "a message",
    "export": "an export",
}


class Happened(msgspec.Struct, frozen=True):
    at: str
    state: State
    reason: str


class Sent(msgspec.Struct, frozen=True):
    """size: bytes. epsilon: cost of its spend alone; None when none is tied to it."""

    id: int
    kind: Kind
    to: str
    size: int
    sha256: str
    state: State
    history: tuple[Happened, ...]
    protection: Protection
    spend: int | None
    epsilon: float | None


class Cost(msgspec.Struct, frozen=True):
    """epsilon: of this one alone, None without end. Together they cost less than their sum."""

    id: int
    at: str
    unit: str
    purpose: str
    epsilon: float | None


class Refused(msgspec.Struct, frozen=True):
    """would_be: a patient's epsilon if it had been done, None without end."""

    at: str
    purpose: str
    would_be: float | None
    budget_epsilon: float


class BudgetChange(msgspec.Struct, frozen=True):
    at: str
    epsilon: float
    delta: float
    by: str
    because: str


class Account(msgspec.Struct, frozen=True, tag_field="format", tag="akazuba-privacy-report-1"):
    """since: what is listed happened then or later, None: ever. The sums are always of all that happened.

    patient_epsilon: holds the clinic's, whose protection covers its patients too. left_epsilon: no single
    spend may add more.
    """

    made: str
    since: str | None
    budget: Budget
    patient_epsilon: float
    clinic_epsilon: float
    left_epsilon: float
    simulated_keys: int
    departures: tuple[Sent, ...]
    spends: tuple[Cost, ...]
    refusals: tuple[Refused, ...]
    budget_changes: tuple[BudgetChange, ...]
    clock_set_back: tuple[tuple[str, str], ...]


def account(ledger: Ledger, now_s: float, since_s: float | None = None) -> Account:
    """Times in seconds since 1970. Raises ArtefactError and, for an unusable `privacy.json`, InputError."""
    from_s = -math.inf if since_s is None else since_s
    budget = ledger.budget()
    spends = ledger.spends()
    costs = {spent.id: _finite(epsilon(total([spent.spend]), budget.delta)) for spent in spends}
    departures = ledger.departures(from_s)
    patient = ledger.total("patient")
    keys = [departure.protection.quantum for departure in departures]
    return Account(
        made=_when(now_s),
        since=None if since_s is None else _when(since_s),
        budget=budget,
        patient_epsilon=patient,
        clinic_epsilon=ledger.total("clinic"),
        left_epsilon=max(0.0, budget.epsilon - patient),
        simulated_keys=len({key.id for key in keys if key and key.simulated}),
        departures=tuple(_sent(each, costs.get(each.spend_id or 0)) for each in departures),
        spends=tuple(
            Cost(spent.id, _when(spent.at_s), spent.unit, spent.purpose, costs[spent.id])
            for spent in spends
            if spent.at_s >= from_s
        ),
        refusals=tuple(
            Refused(_when(each.at_s), each.purpose, _finite(each.would_be), each.budget.epsilon)
            for each in ledger.refusals()
            if each.at_s >= from_s
        ),
        budget_changes=tuple(
            BudgetChange(_when(at_s), new.epsilon, new.delta, new.by, new.because)
            for at_s, new in ledger.budgets()
            if at_s >= from_s
        ),
        clock_set_back=tuple(
            (_when(before), _when(after)) for before, after in ledger.setbacks() if after >= from_s
        ),
    )


def in_words(known: Account) -> str:
    """For a patient: short sentences, the most important first."""
    paragraphs = [
        [f"What left this box{_since(known)}. Written {known.made}."],
        list(_about_departures(known)),
        list(_about_you(known)),
        list(_about_the_rest(known)),
    ]
    return "\n\n".join("\n".join(lines) for lines in paragraphs if lines)


def chance_at_most(without: float, spent: float, delta: float) -> float:
    """How likely a thing said about somebody can become by her coming, when it was `without` likely without.

    Both bounds of (epsilon, delta)-differential privacy: on its being said and on its not being said.

    >>> round(chance_at_most(0.01, 1.0, 0), 3)
    0.027
    """
    if spent > 700:
        return 1.0
    said = math.exp(spent) * without + delta
    unsaid = math.exp(-spent) * (1 - without - delta)
    return min(1.0, said, 1 - max(0.0, unsaid))


def _about_departures(known: Account) -> Iterator[str]:
    left = [each for each in known.departures if each.state in ("sent", "acknowledged")]
    stayed = [each for each in known.departures if each.state in ("waiting", "refused")]
    if not left:
        yield f"Nothing has left this box{_since(known)}."
    else:
        yield f"{len(left)} {'thing' if len(left) == 1 else 'things'} left it:"
        for each in left:
            yield from _about_one(each)
    if stayed:
        yield "This did not leave, or not surely:"
        for each in stayed:
            yield from _about_one(each)
    if known.simulated_keys:
        yield (
            f"SIMULATED: {known.simulated_keys} of the quantum keys came from a simulated link."
            " Such a key adds no protection; the other keys of its envelope do."
        )


def _about_one(each: Sent) -> Iterator[str]:
    last = each.history[-1]
    reason = f": {last.reason}" if last.reason else ""
    yield f"- {last.at}: {WHAT[each.kind]}, {each.size} bytes, to {each.to}: {each.state}{reason}."
    yield f"  {_sealed(each.protection)}"
    if each.epsilon is not None:
        yield f"  Noise hides each patient in it: epsilon {each.epsilon:.3g}."
    elif each.spend is None:
        yield "  No noise was added: whoever can open it reads it as it is."


def _sealed(protection: Protection) -> str:
    if protection.suite == "none":
        return "It was not sealed."
    return (
        f"Sealed with {protection.suite}, from key {protection.sender or 'unnamed'}"
        f" for key {protection.recipient or 'unnamed'}, {_quantum(protection.quantum)}."
    )


def _quantum(key: QuantumKeyUsed | None) -> str:
    if key is None:
        return "without a quantum key"
    return f"with quantum key {key.id}" + (" (SIMULATED)" if key.simulated else "")


def _about_you(known: Account) -> Iterator[str]:
    spent, delta = known.patient_epsilon, known.budget.delta
    if not spent:
        yield "No numbers with noise were released, so none of your privacy budget is spent."
    else:
        yield "What this can mean for you:"
        yield (
            "Think of anything that somebody may say about you because of these numbers."
            f" Your coming here makes it at most {_times(spent)} as likely{_or_else(delta)}."
        )
        yield (
            f"So, what would be said of you in 1 of 100 cases had you stayed away is now said in at most"
            f" {100 * chance_at_most(0.01, spent, delta):.3g} of 100."
        )
        yield _strength(spent)
    yield (
        f"Budget: epsilon {known.budget.epsilon:g} for the life of this box (delta {delta:g})."
        f" Spent: {spent:.3g}. Left: at most {known.left_epsilon:.3g}."
    )


def _about_the_rest(known: Account) -> Iterator[str]:
    for refused in known.refusals:
        would_be = "no bound" if refused.would_be is None else f"epsilon {refused.would_be:.3g}"
        yield (
            f"{refused.at}: refused, {refused.purpose}: it would have come to {would_be},"
            f" over the {refused.budget_epsilon:g} allowed. Nothing left."
        )
    for change in known.budget_changes:
        who = f" by {change.by}: {change.because}" if change.by else ""
        yield f"{change.at}: budget set to epsilon {change.epsilon:g}, delta {change.delta:g}{who}."
    for before, after in known.clock_set_back:
        yield f"The clock went back from {before} to {after}: times may be wrong. No budget came back."


def _strength(spent: float) -> str:
    if spent <= 1:
        return "That is strong protection."
    if spent <= 10:
        return "That is fair protection, not strong."
    return "That is weak protection."


def _times(spent: float) -> str:
    return f"{math.exp(spent):,.2f} times" if spent < 20 else "hundreds of millions of times"


def _or_else(delta: float) -> str:
    return f" (but for a chance of 1 in {round(1 / delta):,})" if delta else ""


def _since(known: Account) -> str:
    return f" since {known.since}" if known.since else ""


def _sent(each: Departure, cost: float | None) -> Sent:
    return Sent(
        id=each.id,
        kind=each.kind,
        to=each.to,
        size=each.size,
        sha256=each.sha256,
        state=each.state,
        history=tuple(Happened(_when(step.at_s), step.state, step.reason) for step in each.steps),
        protection=each.protection,
        spend=each.spend_id,
        epsilon=cost,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(" ", "minutes").replace("+00:00", " UTC")
