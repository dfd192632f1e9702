"""`akazuba federate release`, `adopt`, `predict`: the student that boxes answer with."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from akazuba.cli.federate_shared import (
    AUTHORITY,
    is_url,
    now_s,
    own_carrier,
    own_keys,
    own_records,
    own_releases,
    read_given,
)
from akazuba.cli.shared import FAILED, as_text, errors_shown, show
from akazuba.cli.store_patients import AS

if TYPE_CHECKING:
    from akazuba.federation.learning import Learning
    from akazuba.federation.release import Noted, Source, StudentRelease
    from akazuba.privacy.keys.identity import Identity
    from akazuba.privacy.keys.registry import Registry

FOLDER = click.Path(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True)


@click.command()
@click.option("--features", type=click.IntRange(1, 100_000), required=True, help="Of the network.")
@click.option("--classes", type=click.IntRange(2, 1000), default=2, show_default=True)
@click.option("--hidden", type=click.IntRange(1, 10_000), required=True, help="Units of the teacher.")
@click.option("--student-hidden", type=click.IntRange(0, 1000), default=0, show_default=True)
@click.option("--transfer", "transfer_file", type=FOLDER, required=True, help=".npz: public or drawn inputs.")
@click.option(
    "--evaluation",
    "evaluation_files",
    type=FOLDER,
    multiple=True,
    required=True,
    help=".npz with inputs, labels, and site where it holds several; any number.",
)
@click.option(
    "--gateway", "gateways", type=FOLDER, multiple=True, help="A gateway's model, .npy; any number."
)
@click.option("--state", type=FOLDER, help="The coordinator's file; default: this box's.")
@click.option("--temperature", type=click.FloatRange(0.1, 100), default=4.0, show_default=True)
@click.option("--steps", type=click.IntRange(1, 1_000_000), default=1500, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, show_default=True)
@click.option("--delta", type=click.FloatRange(1e-12, 0.001), default=1e-6, show_default=True)
@click.option("--programme", "signed", type=FOLDER, help="That it learned: consultations ask no other.")
@click.option("--out", type=FOLDER, required=True, help="The signed release.")
@JSON
def release(
    features: int,
    classes: int,
    hidden: int,
    student_hidden: int,
    transfer_file: Path,
    evaluation_files: tuple[Path, ...],
    gateways: tuple[Path, ...],
    state: Path | None,
    temperature: float,
    steps: int,
    seed: int,
    delta: float,
    signed: Path | None,
    out: Path,
    as_json: bool,
) -> None:
    """At the coordinator: teach a student of a tenth, hold it against the one in force, sign it.

    Exit code 1: it lost more than 0.5 points, or more than 2 at a site; nothing is published then.

    Example: akazuba federate release --features 30 --hidden 64 --transfer t.npz --evaluation e.npz --out r
    """
    from akazuba.diagnosis.network import Network
    from akazuba.federation import release as releases, release_files as files
    from akazuba.federation.coordinator import FILE
    from akazuba.federation.release_student import Lesson
    from akazuba.federation.stick import put
    from akazuba.settings import from_environ

    with errors_shown(), own_keys() as keys, own_releases() as opened:
        network, registry = Network(features, classes, hidden), keys.registry()
        registry.member(keys.identity().public.key_id, ["coordinator"], now_s())
        models = [files.gateway_model(path, network) for path in gateways]
        path = state or from_environ().home / FILE
        source = releases.source(path, registry, now_s(), network, models, delta)
        made = releases.tried(
            source,
            student_hidden,
            files.inputs(transfer_file, features, files.LEAST_TRANSFER),
            files.evaluation(evaluation_files, network),
            Lesson(temperature, steps, seed=seed),
            opened.in_force(),
            registry.programme,
            opened.next_number(),
            now_s(),
            _meaning(signed, source, registry),
        )
        refusals = made.verdict.refusals()
        if refusals:
            facts = {"published": False, "refused": refusals, **_facts(made)}
        else:
            held = opened.publish(keys.identity(), registry, made)
            put(out, held.data)
            facts = {"published": True, "id": held.id, "file": str(out), **_facts(held.release)}
    show(json.dumps(facts) if as_json else as_text(facts))
    if refusals:
        for reason in refusals:
            click.echo(f"error: not published: {reason}", err=True)
        sys.exit(FAILED)


def _meaning(signed: Path | None, source: Source, registry: Registry) -> bytes:
    """Of the programme that is given, else of the teacher's. Raises InputError for one of another size, and
    where the teacher learned under another.
    """
    from akazuba.errors import InputError
    from akazuba.federation.learning import learning_of

    if signed is None:
        return source.meaning
    network, learning = source.network, learning_of(read_given(signed), registry, now_s())
    own = learning.network()
    if (own.features, own.classes) != (network.features, network.classes):
        found = f"{own.features} and {own.classes}"
        raise InputError("--programme", f"{network.features} features, {network.classes} classes", found)
    if source.meaning:
        learning.require(source.meaning, f"model {source.teacher.version}")
    return learning.meaning


@click.command()
@click.argument("file", metavar="FILE|URL", required=False)
@AUTHORITY
@click.option("--back", is_flag=True, help="Give the one in force back: the one before, or none.")
@click.option("--features", type=click.IntRange(1, 100_000), help="That this box's encoder gives.")
@AS
@JSON
def adopt(
    file: str | None, authority: Path | None, back: bool, features: int | None, who: str | None, as_json: bool
) -> None:
    """At a terminal: take a coordinator's release as the student in force, or go --back to the one before it.

    It comes from a file, or from a gateway's URL once it is published there. Consultations ask it beside
    their advice once the box knows the programme (`federate learn`). Where the box keeps records, its log
    says first who did it: close the page meanwhile.

    Example: akazuba federate adopt release.bin
    """
    from akazuba.errors import InputError
    from akazuba.federation.consulted import consulted, unasked
    from akazuba.settings import from_environ

    with errors_shown(), own_keys() as keys, own_releases() as opened, ExitStack() as stack:
        if (file is None) is not back:
            raise InputError("adopt", "a FILE, or --back", "both" if back else "neither")
        registry, home = keys.registry(), from_environ().home
        data = b"" if file is None else _release_at(file, authority, keys.identity(), registry)
        learning = _programme(home, registry)
        noted = stack.enter_context(_log(home, registry.programme, who))
        unasked(home)  # nobody speaks after a change that was cut short
        try:
            if file is None:
                held = opened.back(registry, noted)
            else:
                held = opened.adopt(data, registry, features, noted)
        finally:
            in_use = consulted(home, opened.in_force(), learning)
    facts: dict[str, Any] = {"in_force": held is not None, "in_use": in_use}
    if held is not None:
        facts |= {"id": held.id, **_facts(held.release)}
    show(json.dumps(facts) if as_json else as_text(facts))


@contextmanager
def _log(home: Path, programme: str, who: str | None) -> Iterator[Noted]:
    """Where the change is written down; nowhere on a box that keeps no records."""
    from akazuba.federation.consulted import about_to_ask

    with own_records(home, who) as kept:
        yield lambda held: about_to_ask(*kept, programme, held) if kept else None


def _programme(home: Path, registry: Registry) -> Learning | None:
    """What the box learns; None, which is told, when whoever signed it may sign no more."""
    from akazuba.errors import UntrustedError
    from akazuba.federation.learning import kept

    try:
        return kept(home, registry, now_s())
    except UntrustedError as why:
        click.echo(f"error: {why}", err=True)
        return None


def _release_at(place: str, authority: Path | None, identity: Identity, registry: Registry) -> bytes:
    """Of a file or a gateway. Raises InputError when the gateway has none."""
    from akazuba.errors import InputError
    from akazuba.federation.board import STUDENT

    if not is_url(place):
        return read_given(Path(place))
    with own_carrier(place, authority, identity, registry) as one:
        if (digest := one.files().get(STUDENT)) is None:
            raise InputError(place, "a gateway to which a student was published", "none there")
        return one.file(STUDENT, digest)


@click.command()
@click.argument("file", type=FOLDER)
@click.argument("url")
@AUTHORITY
def publish(file: Path, url: str, authority: Path | None) -> None:
    """At the coordinator: leave a signed release at a gateway, from which terminals adopt it.

    Example: akazuba federate publish release.bin https://gateway.example
    """
    from akazuba.federation.board import STUDENT
    from akazuba.federation.release import checked

    with errors_shown(), own_keys() as keys:
        identity, registry, data = keys.identity(), keys.registry(), read_given(file)
        number = checked(data, registry, now_s()).release.number
        with own_carrier(url, authority, identity, registry) as one:
            one.leave(STUDENT, data)
    show(f"student release {number} is at {url}")


@click.command()
@click.argument("file", type=FOLDER)
@JSON
def predict(file: Path, as_json: bool) -> None:
    """Answer with the student in force. FILE: .npz with inputs (cases, features).

    Example: akazuba federate predict inputs.npz
    """
    from akazuba.errors import InputError
    from akazuba.federation.release_files import inputs

    with errors_shown(), own_releases() as opened:
        held = opened.in_force()
        if held is None:
            raise InputError("student", "a release that was adopted", "none")
        chances = held.release.chances(inputs(file, held.release.features).inputs)
    if as_json:
        facts = {"number": held.release.number, "id": held.id, "chances": chances.tolist()}
        show(json.dumps(facts))
        return
    show(f"student release {held.release.number}")
    for row in chances:
        show(f"class {row.argmax()}  {'  '.join(f'{chance:.3f}' for chance in row)}")


def _facts(made: StudentRelease) -> dict[str, Any]:
    verdict, overall, teacher = made.verdict, made.verdict.overall, made.teacher
    in_place = {"before": overall.before, "after": overall.after, "teacher": overall.teacher}
    return {
        "number": made.number,
        "programme": made.programme,
        "teacher_version": teacher.version,
        "teacher_bytes": 4 * teacher.dimension,
        "student_bytes_float32": 4 * made.network.dimension,
        "student_bytes_shipped": made.student.size,
        "held_against": "the most frequent class" if verdict.first else made.replaces,
        "cases": overall.cases,
        "right": in_place,
        "change_points": round(overall.change, 3),
        "change_points_95_percent": [round(verdict.low, 3), round(verdict.high, 3)],
        "sites": {
            name: {"cases": one.cases, "points": round(one.change, 3)} for name, one in verdict.sites.items()
        },
        "epsilon": teacher.epsilon,
        "delta": teacher.delta,
    }
