"""`akazuba federate masked`: rounds in which nobody sees a single update, as files in a folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import click

from akazuba.cli.federate_shared import (
    AUTHORITY,
    CLASSES,
    HIDDEN,
    is_url,
    network_of,
    now_s,
    of_network,
    own_carrier,
    own_keys,
    sun,
    write_out,
)
from akazuba.cli.shared import FAILED, errors_shown, show
from akazuba.cli.store_patients import AS

if TYPE_CHECKING:
    from akazuba.diagnosis.network import Network
    from akazuba.federation.coordinator import Coordinator
    from akazuba.federation.terminal import OwnCases
    from akazuba.federation.updates import ModelRelease
    from akazuba.privacy.aggregation.server import Round
    from akazuba.privacy.aggregation.stewards import MaskSteward
    from akazuba.privacy.keys.enrolment import Role
    from akazuba.privacy.keys.identity import Identity
    from akazuba.privacy.keys.registry import Registry


def at_folder(command: Callable[..., None]) -> Callable[..., None]:
    """FOLDER of a stick, or a gateway's URL."""
    return click.argument("folder", metavar="FOLDER|URL")(AUTHORITY(command))


HOUR_S = 3600


@click.group()
def masked() -> None:
    """Rounds in which nobody sees a single update. They travel as files in a folder, such as a stick's, or
    lie at a gateway, whose URL stands for the folder then.

    In order: begin, key (each steward), plan, give (each terminal), look (each steward), close, share (each
    steward), open. Whoever masks cannot be seen to lie: only the clip bounds it.

    Example: akazuba federate masked begin /media/stick --features 30
    """


@contextmanager
def _member(role: Role) -> Iterator[tuple[Identity, Registry]]:
    """Raises UntrustedError for a box of another role."""
    with own_keys() as keys:
        registry, identity = keys.registry(), keys.identity()
        registry.member(identity.public.key_id, [role], now_s())
        yield identity, registry


@contextmanager
def _coordinator(
    signed: Path | None, features: int | None, classes: int, hidden: int
) -> Iterator[tuple[Coordinator, Identity, Registry]]:
    from akazuba.federation.accounts import Accounts
    from akazuba.federation.coordinator import FILE, Coordinator
    from akazuba.federation.folding import Rules
    from akazuba.privacy.accounting import Budget
    from akazuba.settings import from_environ

    with _member("coordinator") as (identity, registry):
        network, meaning = network_of(signed, registry, features, classes, hidden)
        path, start = from_environ().home / FILE, network.start(0)
        carried = Accounts(Budget(1.0, 1e-6))  # what was spent is kept; a masked round's cost is the clinics'
        made = Coordinator(path, Rules(), start, identity, registry, now_s, os.urandom, carried, meaning)
        with closing(made):
            yield made, identity, registry


@contextmanager
def _round(folder: Path, identity: Identity, registry: Registry) -> Iterator[Round]:
    from akazuba.federation import masked as rounds
    from akazuba.settings import from_environ

    with closing(rounds.server(folder, from_environ().home, identity, registry, now_s)) as opened:
        yield opened


@contextmanager
def _steward(least: int = 5) -> Iterator[tuple[MaskSteward, Identity, Registry]]:
    from akazuba.privacy.aggregation.stewards import MaskSteward
    from akazuba.settings import from_environ

    with _member("mask-steward") as (identity, registry):
        path = from_environ().home / "mask-steward.sqlite3"
        with closing(MaskSteward(path, identity, registry, now_s, os.urandom, least)) as made:
            yield made, identity, registry


@contextmanager
def _at(
    place: str, authority: Path | None, identity: Identity, registry: Registry, *wanted: str
) -> Iterator[Path]:
    """The folder of a round: as given, or a copy of what a gateway carries; what is new of it goes back."""
    if not is_url(place):
        yield Path(place)
        return
    from akazuba.settings import from_environ

    folder = from_environ().home / "masked" / f"at-{sha256(place.encode()).hexdigest()[:16]}"
    with own_carrier(place, authority, identity, registry) as one, one.carried(folder, wanted) as copy:
        yield copy


@masked.command()
@at_folder
@of_network
@click.option("--hours", type=click.IntRange(1, 24 * 60), default=7 * 24, show_default=True)
def begin(
    folder: str,
    authority: Path | None,
    signed: Path | None,
    features: int | None,
    classes: int,
    hidden: int,
    hours: int,
) -> None:
    """At the coordinator: begin a round on the newest version. All who take part train from it.

    Example: akazuba federate masked begin /media/stick --programme learn.programme
    """
    from akazuba.federation import masked as rounds

    with (
        errors_shown(),
        _coordinator(signed, features, classes, hidden) as (made, identity, registry),
        _at(folder, authority, identity, registry) as place,
    ):
        round_id, ends = os.urandom(16), now_s() + hours * HOUR_S
        over = lambda begun: rounds.over(begun, made, now_s())  # noqa: E731
        rounds.begin(place, identity, made.release(), round_id, ends, over)
        show(f"round {round_id.hex()} on version {made.folding.version}, for {hours} h")


@masked.command()
@at_folder
def key(folder: str, authority: Path | None) -> None:
    """At a mask steward: give a key for the round that is begun.

    Example: akazuba federate masked key /media/stick
    """
    from akazuba.federation import masked as rounds

    with (
        errors_shown(),
        _steward() as (steward, identity, registry),
        _at(folder, authority, identity, registry) as place,
    ):
        rounds.announce(place, steward, identity.public.key_id, registry, now_s())
        show("key given")


@masked.command()
@at_folder
@click.option("--least", type=click.IntRange(2), default=5, show_default=True, help="Clinics in the sum.")
@click.option("--most", type=click.IntRange(2), default=100, show_default=True)
@click.option("--threshold", type=click.IntRange(1), default=3, show_default=True, help="Stewards that open.")
@click.option(
    "--noise",
    type=click.FloatRange(0.001, 1000),
    default=1.0,
    show_default=True,
    help="Of `least` clinics, over the sensitivity.",
)
def plan(folder: str, authority: Path | None, least: int, most: int, threshold: int, noise: float) -> None:
    """At the coordinator: sign the plan, when the stewards' keys are there.

    Example: akazuba federate masked plan /media/stick --least 5 --threshold 3
    """
    from akazuba.federation import board, masked as rounds

    with (
        errors_shown(),
        _member("coordinator") as (identity, registry),
        _at(folder, authority, identity, registry, board.RELEASE, board.KEY) as place,
    ):
        made = rounds.plan(
            place, identity, registry, now_s(),
            least=least, most=most, threshold=threshold, noise_multiplier=noise,
        )  # fmt: skip
        show(f"{made.purpose}: {least} to {most} clinics, {threshold} of {len(made.mask_keys)} stewards open")


@masked.command()
@at_folder
@click.option("--cases", type=click.Path(path_type=Path), help="As of `federate join`; else own records.")
@click.option("--features", type=click.IntRange(1, 100_000), help="Of the network; with --cases.")
@CLASSES
@HIDDEN
@AS
@click.option(
    "--least", type=click.IntRange(2), default=5, show_default=True, help="Clinics in a sum, at least."
)
@click.option("--stewards", type=click.IntRange(1), default=5, show_default=True, help="At least.")
@click.option(
    "--threshold", type=click.IntRange(1), default=3, show_default=True, help="That open it, at least."
)
@click.option("--noise", type=click.FloatRange(0.001, 1000), default=1.0, show_default=True, help="At least.")
def give(
    folder: str,
    authority: Path | None,
    cases: Path | None,
    features: int | None,
    classes: int,
    hidden: int,
    who: str | None,
    least: int,
    stewards: int,
    threshold: int,
    noise: float,
) -> None:
    """At a terminal: train from the round's version, and mask the change here. Its privacy ledger pays.

    It trains on the box's own records, of the programme that it learns (`federate learn`), or on --cases.
    Exit code 1: the energy plan says to wait.

    Example: akazuba federate masked give /media/stick
    """
    from akazuba.federation import board, masked as rounds
    from akazuba.federation.terminal import Training, trained
    from akazuba.privacy.aggregation.clinic import Terms
    from akazuba.privacy.ledger import Ledger
    from akazuba.settings import from_environ

    with (
        errors_shown(),
        _member("terminal") as (identity, registry),
        _at(folder, authority, identity, registry, board.RELEASE, board.PLAN) as place,
    ):
        terms = Terms(least, noise, stewards, threshold)
        checked, release = rounds.planned(place, registry, now_s(), terms)
        verdict = sun()
        show(verdict.because)
        if verdict.allowed:
            if cases is None:
                network, own = _own_records(registry, release, who)
            else:
                network, own = _given(cases, features, classes, hidden)
            change = trained(release, network, own, Training()) - release.values()
            with Ledger(from_environ().home) as ledger:
                given = rounds.give(
                    place, ledger, identity, checked, release, change, len(own.labels), os.urandom
                )
            show(f"masked: {len(own.labels)} cases used, {own.left_out} left out; {checked.plan.purpose}")
            if not given.first:
                show("it was given before: the same bytes again, nothing charged")
    if not verdict.allowed:
        sys.exit(FAILED)


def _given(cases: Path, features: int | None, classes: int, hidden: int) -> tuple[Network, OwnCases]:
    from akazuba.diagnosis.network import Network
    from akazuba.errors import InputError
    from akazuba.federation.terminal import own_cases

    if features is None:
        raise InputError("give", "--features with --cases", "none")
    return Network(features, classes, hidden), own_cases(cases)


def _own_records(registry: Registry, release: ModelRelease, who: str | None) -> tuple[Network, OwnCases]:
    """What the programme's network learns from. The log has it first."""
    from akazuba.cli.federate_learn import gathered
    from akazuba.cli.store import acting, opened_store
    from akazuba.federation.learning import in_force
    from akazuba.federation.own_records import MASKED
    from akazuba.settings import from_environ

    learning = in_force(from_environ().home, None, registry, now_s())
    if release.meaning:
        learning.require(release.meaning, f"model {release.version}")
    with opened_store() as store:
        _, found = gathered(store, acting(store, who, "operate"), MASKED, learning, release.version)
    return learning.network(), found.cases


@masked.command()
@at_folder
def look(folder: str, authority: Path | None) -> None:
    """At a mask steward, before the round closes: name the uploads that do not open here.

    Example: akazuba federate masked look /media/stick
    """
    from akazuba.federation import board, masked as rounds

    with (
        errors_shown(),
        _steward() as (steward, identity, registry),
        _at(folder, authority, identity, registry, board.RELEASE, board.PLAN, board.UPLOAD) as place,
    ):
        show(f"uploads that do not open here: {rounds.look(place, steward, identity, registry, now_s())}")


@masked.command()
@at_folder
def close(folder: str, authority: Path | None) -> None:
    """At the coordinator: take the uploads in, and name who is in the sum.

    Example: akazuba federate masked close /media/stick
    """
    from akazuba.federation import board, masked as rounds

    wanted = (board.RELEASE, board.PLAN, board.UPLOAD, board.FAULTY)
    with (
        errors_shown(),
        _member("coordinator") as (identity, registry),
        _at(folder, authority, identity, registry, *wanted) as place,
    ):
        with _round(place, identity, registry) as server:
            number, refused = rounds.close(place, server, registry, now_s())
        show(f"in the sum: {number} clinics")
        for why in refused:
            show(f"left out: {why}")


@masked.command()
@at_folder
@click.option("--least", type=click.IntRange(2), default=5, show_default=True, help="Clinics in any sum.")
def share(folder: str, authority: Path | None, least: int) -> None:
    """At a mask steward: give a share of the sum over exactly the named clinics, once.

    Example: akazuba federate masked share /media/stick
    """
    from akazuba.federation import board, masked as rounds

    wanted = (board.RELEASE, board.PLAN, board.UPLOAD, board.ACCEPTED)
    with (
        errors_shown(),
        _steward(least) as (steward, identity, registry),
        _at(folder, authority, identity, registry, *wanted) as place,
    ):
        rounds.share(place, steward, identity.public.key_id, registry, now_s())
        show("share given")


@masked.command("open")
@at_folder
@of_network
@click.option(
    "--out", type=click.Path(path_type=Path), help="The new version, for `federate gateway --model`."
)
def open_(
    folder: str,
    authority: Path | None,
    signed: Path | None,
    features: int | None,
    classes: int,
    hidden: int,
    out: Path | None,
) -> None:
    """At the coordinator: open the sum, and nothing but the sum, and make a version of it. Not while `serve`
    runs.

    Example: akazuba federate masked open /media/stick --programme learn.programme --out version.model
    """
    from akazuba.federation import board, masked as rounds

    with (
        errors_shown(),
        _coordinator(signed, features, classes, hidden) as (made, identity, registry),
        _at(folder, authority, identity, registry, *board.NAMED, board.SHARE) as place,
    ):
        with _round(place, identity, registry) as server:
            total, version = rounds.opened(place, server, made, registry, now_s())
        show(f"version {version}: the sum of {total.clinics} clinics")
        if out is not None:
            write_out(out, made.release())
