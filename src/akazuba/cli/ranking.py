"""`akazuba rank`: from findings to diseases, by the knowledge alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import click

from akazuba.cli.shared import FAILED, errors_shown, show
from akazuba.errors import CaseError, InputError

if TYPE_CHECKING:
    from akazuba.ranking import RankAnswer, Ranker


@click.command()
@click.argument("findings", nargs=-1, metavar="HPO_OR_TEXT…")
@click.option("--absent", multiple=True, metavar="HPO", help="A finding that was looked for and is absent.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the readable form.")
@click.option(
    "--top", type=click.IntRange(1, 20_000), default=10, show_default=True, help="Diseases to show."
)
@click.option(
    "--batch", type=click.File("rb"), help="NDJSON, one query a line (- = stdin); answers one a line."
)
def rank(
    findings: tuple[str, ...], absent: tuple[str, ...], as_json: bool, top: int, batch: BinaryIO | None
) -> None:
    """Rank every annotated rare disease (OMIM, Orphanet, DECIPHER) by findings, without anything else.

    Example: akazuba rank HP:0001166 "tall stature" --top 5
    """
    from akazuba.ranking import open_ranker
    from akazuba.settings import from_environ

    with errors_shown():
        if bool(findings) == (batch is not None):
            raise InputError("arguments", "findings, or --batch FILE", "both" if findings else "neither")
        ranker = open_ranker(from_environ())
        if batch is not None:
            sys.exit(_ranked_lines(ranker, batch, top))
        query = ranker.from_text(findings)
        query = query.with_excluded(absent)
        answer = ranker.answer(query, top, explain=True)
        if answer.unknown:
            expected = f"an id of {ranker.terminology.version}"
            raise CaseError(f"finding {answer.unknown[0]}", expected, "an unknown id")
    if as_json:
        show(_json(answer))
        return
    absent_names = [f"no {name}" for name in ranker.labels(query.excluded)]
    show(f"Findings read: {', '.join([*ranker.labels(query.observed), *absent_names])}")
    show(_readable(answer))


def _ranked_lines(ranker: Ranker, batch: BinaryIO, top: int) -> int:
    """Answers every line of a batch in order; a line that cannot be used gets its id and an error."""
    from akazuba.ranking import RankAnswer, read_query

    source = str(getattr(batch, "name", "-"))
    code, seen = 0, False
    for number, line in _lines(batch):
        seen = True
        item = f"{source}:{number}"
        name = item
        try:
            query = read_query(line, item)
            name = query.id
            answer = ranker.answer(query, top)
        except CaseError as error:
            answer = RankAnswer(name, error=str(error))
            click.echo(f"error: {name}: {error}", err=True)
            code = FAILED
        show(_json(answer))
    if not seen:
        raise InputError(source, "a query a line", "an empty file")
    return code


def _lines(batch: BinaryIO) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(batch, start=1):
        if line.strip():
            yield number, line


def _json(answer: RankAnswer) -> bytes:
    import msgspec

    return msgspec.json.encode(answer)


def _readable(answer: RankAnswer) -> str:
    lines = [f"Rare diseases that fit best ({answer.knowledge}; not reviewed by a clinician)"]
    if answer.abstained:
        return f"No ranking: {answer.why}"
    for place, disease in enumerate(answer.differential, start=1):
        lines.append(f"{place:3}. {disease.probability:6.1%}  {disease.name}  [{disease.id}]")
        for evidence in disease.evidence:
            what = evidence.finding if evidence.present else f"no {evidence.finding}"
            lines.append(f"       ×{evidence.likelihood_ratio:<8.3g} {what}  ({evidence.source})")
    lines.append(f"     {answer.none_of_these:6.1%}  none of these")
    return "\n".join(lines)
