"""What left this box and what it gave away, for everybody who is signed in to read and to show a patient."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from akazuba.privacy.accounting import Budget, epsilon, total
from akazuba.privacy.ledger import Ledger, Spent
from akazuba.privacy.report import WHAT, Account, account, chance_at_most
from akazuba.web import access, charts
from akazuba.web.pages import page
from akazuba.web.post import now_s


def routes() -> list[BaseRoute]:
    return [Route("/privacy", privacy_page)]


async def privacy_page(request: Request) -> Response:
    """A box without a store knows no users: there the page is open."""
    post = access.post_of(request)
    if post.state != "none" and await access.signed_in(request) is None:
        await post.records(lambda kept: kept.opened())
        raise access.SignInNeededError("nobody is signed in on this tablet")
    known, curve = await asyncio.to_thread(read, post.settings.home, now_s())
    spent = known.patient_epsilon
    return await page(
        request,
        "privacy.html",
        known=known,
        what=WHAT,
        curve=[(day(at), value) for at, value in curve],
        chart=_chart(curve, known.budget) if curve else "",
        left=[each for each in known.departures if each.state in ("sent", "acknowledged")],
        stayed=[each for each in known.departures if each.state in ("waiting", "refused")],
        of_100=f"{100 * chance_at_most(0.01, spent, known.budget.delta):.3g}",
    )


def read(home: Path, at_s: float) -> tuple[Account, list[tuple[float, float]]]:
    """The account, and how a patient's epsilon grew. Raises as `account` does."""
    with closing(Ledger(home)) as ledger:
        known = account(ledger, at_s)
        return known, grown(ledger.spends(), known.budget.delta)


def grown(spends: Sequence[Spent], delta: float) -> list[tuple[float, float]]:
    """Time (seconds since 1970) and a patient's epsilon at the end of each day on which something was spent.

    A clinic's spends count, for they cover its patients too. Time never goes back here, whatever a clock did.
    """
    found, latest = list[tuple[float, float]](), 0.0
    for number, spent in enumerate(spends, 1):
        latest = max(latest, spent.at_s)
        last_of_day = number == len(spends) or day(max(latest, spends[number].at_s)) != day(latest)
        if last_of_day:
            found.append((latest, epsilon(total([each.spend for each in spends[:number]]), delta)))
    return found


def _chart(curve: Sequence[tuple[float, float]], budget: Budget) -> str:
    points = [(curve[0][0], 0.0), *curve]
    return charts.steps("", points, (day(curve[0][0]), day(curve[-1][0])), budget.epsilon)


def day(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).date().isoformat()
