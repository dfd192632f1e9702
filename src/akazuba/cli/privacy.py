"""`akazuba privacy`: what left this box, what may still leave, and statistics that name nobody."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from akazuba.cli.shared import FAILED, errors_shown, file_lines, show
from akazuba.errors import BudgetError, InputError, OutOfTimeError, why_not_opened

if TYPE_CHECKING:
    from akazuba.privacy.ledger import Ledger
    from akazuba.privacy.statistics import Released

DAY = click.DateTime(["%Y-%m-%d"])
CONDITIONS_BYTES = 4_000_000


@click.group()
def privacy() -> None:
    """What left this box, and what it says about its patients.

    Example: akazuba privacy report
    """


@privacy.command()
@click.option("--json", "as_json", is_flag=True, help="The account as one line of JSON.")
@click.option("--since", type=DAY, metavar="DATE", help="Only what happened on that day or later (UTC).")
def report(as_json: bool, since: datetime | None) -> None:
    """Tell what left this box, when, to whom, under which keys and at what cost, and what was refused.

    Example: akazuba privacy report --since 2026-01-01
    """
    import msgspec

    from akazuba.privacy.report import account, in_words
    from akazuba.report import harmless

    with _failures_shown(), _opened() as ledger:
        since_s = None if since is None else since.replace(tzinfo=UTC).timestamp()
        known = account(ledger, time.time(), since_s)
    text = msgspec.json.encode(known).decode() if as_json else in_words(known)
    show("\n".join(map(harmless, text.split("\n"))))


@privacy.command()
@click.argument("rows", type=click.Path(path_type=Path))
@click.option(
    "--conditions",
    required=True,
    type=click.Path(path_type=Path),
    help="The conditions to count, one a line, fixed beforehand.",
)
@click.option("--from", "start", required=True, type=DAY, metavar="DATE", help="First day of the period.")
@click.option("--to", "end", required=True, type=DAY, metavar="DATE", help="Last day of the period.")
@click.option("--epsilon", required=True, metavar="E", help="Cost for each patient, 0.001 to 10.")
@click.option(
    "--contributions",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="To how many conditions one patient counts; the noise grows with it.",
)
@click.option("--recipient", default="ministry", show_default=True, help="Who gets them, for the ledger.")
@click.option("--json", "as_json", is_flag=True, help="The document as it is released, one line of JSON.")
def statistics(
    rows: Path,
    conditions: Path,
    start: datetime,
    end: datetime,
    epsilon: str,
    contributions: int,
    recipient: str,
    as_json: bool,
) -> None:
    """Release counts by diagnosis of one period, with noise that hides every single patient.

    ROWS has one line a visit: {"patient": pseudonym, "condition": ICD-10 or our id, "date": "2026-05-31"}.
    A period is released once; asked again, the same document comes again and costs nothing.

    Example: akazuba privacy statistics may.ndjson --conditions list.txt --from 2026-05-01 --to 2026-05-31
    --epsilon 0.1
    """
    from akazuba.privacy.ledger import UNPROTECTED
    from akazuba.privacy.statistics import (
        LINE_BYTES,
        Request,
        read_conditions,
        read_epsilon,
        read_visits,
        release,
    )

    with _failures_shown():
        listed = read_conditions(_text(conditions), str(conditions))
        request = Request(start.date(), end.date(), listed, read_epsilon(epsilon), contributions)
        with _opened() as ledger, file_lines(rows, LINE_BYTES, "a file of rows") as lines:
            now = datetime.fromtimestamp(time.time(), UTC)
            released = release(ledger, request, read_visits(lines, str(rows)), now.date())
            _tell_the_operator(released)
            departure = ledger.depart(
                "statistics", recipient, released.document, UNPROTECTED, released.spend_id
            )
            show(released.document if as_json else _as_table(released.document))
            ledger.moved(departure, "sent")


@privacy.command()
@click.option("--epsilon", type=float, metavar="E", help="The most for one patient in all, 0 to 100.")
@click.option("--delta", type=float, metavar="D", help="0 to 0.001.")
@click.option("--by", default="", metavar="NAME", help="Who loosens it.")
@click.option("--because", default="", metavar="TEXT", help="Why it is loosened.")
@click.option("--json", "as_json", is_flag=True)
def budget(epsilon: float | None, delta: float | None, by: str, because: str, as_json: bool) -> None:
    """Show or set the most that may ever be spent of one patient's privacy.

    A tighter budget counts at once. A looser one takes a name and a reason, which are kept and reported.

    Example: akazuba privacy budget --epsilon 4
    """
    import msgspec

    from akazuba.privacy.accounting import Budget

    with _failures_shown(), _opened() as ledger:
        now = ledger.budget()
        if epsilon is not None or delta is not None:
            most = now.epsilon if epsilon is None else epsilon
            wanted = Budget(most, now.delta if delta is None else delta, by, because)
            ledger.set_budget(wanted)
            now = ledger.budget()
        elif by or because:
            raise InputError("budget", "--epsilon or --delta with --by and --because", "neither")
        spent = ledger.total()
    left = max(0.0, now.epsilon - spent)
    facts = {"epsilon": now.epsilon, "delta": now.delta, "spent": spent, "left": left}
    words = (
        f"budget: epsilon {now.epsilon:g} at delta {now.delta:g} for one patient, for the life of this box\n"
        f"spent: {spent:.4g}\nleft: at most {left:.4g}"
    )
    show(msgspec.json.encode(facts) if as_json else words)


@contextmanager
def _failures_shown() -> Iterator[None]:
    """As `errors_shown`, but exit code 1 where the input was sound and the work could not be done."""
    with errors_shown():
        try:
            yield
        except (BudgetError, OutOfTimeError) as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(FAILED)


def _opened() -> Ledger:
    from akazuba.privacy.ledger import Ledger
    from akazuba.settings import from_environ

    return Ledger(from_environ().home)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(CONDITIONS_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(str(path), "a file of conditions in UTF-8", why_not_opened(problem)) from problem


def _tell_the_operator(released: Released) -> None:
    """To stderr, which does not leave the box: what was dropped, in true numbers."""
    if not released.first:
        click.echo("This period was released before: the same document again, at no cost.", err=True)
    dropped = released.dropped
    click.echo(
        f"Rows not counted (keep this to yourself): {dropped.outside_period} of other days,"
        f" {dropped.not_listed} of conditions not listed, {dropped.repeated} repeated,"
        f" {dropped.over_the_bound} over what one patient may count.",
        err=True,
    )


def _as_table(document: bytes) -> str:
    import msgspec

    from akazuba.privacy.statistics import Document

    known = msgspec.json.decode(document, type=Document)
    width = max(len(count.condition) for count in known.counts)
    rows = [f"{c.condition:<{width}}  {c.count:>8}  {c.low} to {c.high}" for c in known.counts]
    head = [
        f"Patients by condition, {known.start} to {known.end}.",
        f"Differential privacy: epsilon {known.epsilon} for each patient; {known.noise}.",
        f"{'condition':<{width}}  {'patients':>8}  95 %",
    ]
    return "\n".join([*head, *rows, *known.notes])
