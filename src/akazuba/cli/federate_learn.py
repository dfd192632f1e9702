"""`akazuba federate programme`, `learn`, `own-head`, `opinion`: learning from the box's own records."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from akazuba.cli.federate_shared import (
    fetched,
    now_s,
    own_keys,
    own_records,
    own_releases,
    own_sender,
    read_given,
    sun,
    write_out,
)
from akazuba.cli.shared import FAILED, as_text, errors_shown, show
from akazuba.cli.store_patients import AS, JSON

if TYPE_CHECKING:
    from akazuba.diagnosis.network import Network
    from akazuba.federation.learning import Learning
    from akazuba.federation.own_records import Gathered
    from akazuba.federation.sending import Sender
    from akazuba.federation.terminal import OwnCases
    from akazuba.federation.updates import ModelRelease, Numbers
    from akazuba.privacy.keys.registry import Registry
    from akazuba.storage.store import Recorded, Store


FOLDER = click.Path(path_type=Path)


@click.command()
@click.option(
    "--condition",
    "conditions",
    multiple=True,
    required=True,
    help="What is learned to be told apart, as the box's knowledge names it; two or more, in a fixed order.",
)
@click.option("--differential", is_flag=True, help="The box's own probabilities are inputs too.")
@click.option("--hidden", type=click.IntRange(0, 10_000), default=0, show_default=True)
@click.option(
    "--number", type=click.IntRange(1), default=1, show_default=True, help="Grows with each change."
)
@click.option("--out", type=FOLDER, required=True, help="The signed programme, for every terminal.")
def programme(conditions: tuple[str, ...], differential: bool, hidden: int, number: int, out: Path) -> None:
    """At the coordinator: fix and sign what all boxes learn, and from what.

    Example: akazuba federate programme --condition Malaria --condition "Typhoid fever" --out learn.programme
    """
    from akazuba.errors import InputError
    from akazuba.federation.learning import KIND, Learning
    from akazuba.knowledge.conditions import open_knowledge
    from akazuba.privacy.keys.signed import sign

    with errors_shown(), own_keys() as keys:
        registry = keys.registry()
        registry.member(keys.identity().public.key_id, ["coordinator"], now_s())
        known = {condition.name for condition in open_knowledge().table.conditions}
        if unknown := [name for name in conditions if name not in known]:
            raise InputError("--condition", "a name in `akazuba knowledge show`", repr(unknown[0]))
        if len(conditions) < 2:
            raise InputError("--condition", "two or more", str(len(conditions)))
        learning = Learning(registry.programme, number, conditions, differential, hidden)
        network = learning.network()
        write_out(out, sign(keys.identity(), KIND, learning))
    sizes = f"--features {network.features} --classes {network.classes} --hidden {network.hidden}"
    show(f"serve it with --programme {out}; release it with {sizes} too")


@click.command()
@click.argument("url", required=False)
@click.option("--outbox-only", is_flag=True, help="Send nothing now: by stick, or with `join` later.")
@click.option(
    "--programme", "signed", type=FOLDER, help="Signed by the coordinator; kept after the first time."
)
@click.option(
    "--local-epsilon",
    type=click.FloatRange(0.01, 100),
    help="Add noise here already, at this cost for the update, out of the box's privacy budget.",
)
@click.option("--authority", type=FOLDER, help="PEM of whom the gateway's certificate is from.")
@AS
@JSON
def learn(
    url: str | None,
    outbox_only: bool,
    signed: Path | None,
    local_epsilon: float | None,
    authority: Path | None,
    who: str | None,
    as_json: bool,
) -> None:
    """At a terminal: train on the box's own records, of patients who agreed to it, once confirmed.

    The store is opened as by other commands, so close the page first. Exit code 1: the energy plan says to
    wait, or something still waits to be sent.

    Example: akazuba federate learn https://gateway.example --programme learn.programme
    """
    from akazuba.cli.store import opened_store
    from akazuba.errors import InputError
    from akazuba.federation.doors import HttpLink
    from akazuba.federation.updates import released
    from akazuba.settings import from_environ

    with errors_shown(), ExitStack() as stack:
        if (url is None) != outbox_only:
            raise InputError("learn", "the gateway's URL or --outbox-only", "both" if url else "neither")
        sender, home = stack.enter_context(own_sender()), from_environ().home
        records = stack.enter_context(ExitStack())
        kept = records.enter_context(own_records(home, who))
        learning = _programme(home, signed, sender.registry, kept)
        link = None if url is None else stack.enter_context(closing(HttpLink(url, authority)))
        if link is not None:
            fetched(sender, link)
        if (data := sender.outbox.model()) is None:
            raise InputError("training", "a model to start from", "none was ever fetched")
        release = released(data, sender.registry, now_s())
        if release.meaning:
            learning.require(release.meaning, f"model {release.version}")
        store, by = kept or (records.enter_context(opened_store()), "")  # which says that there is none
        facts = _learned(sender, store, by, learning, release, local_epsilon)
        records.close()
        if link is not None:
            sent = sender.send_all(link)
            facts |= {"accepted": sent.accepted, "refused": sent.refused, "waiting": sent.left}
            if sent.broke:
                click.echo(f"error: {sent.broke}", err=True)
    show(json.dumps(facts) if as_json else as_text(facts))
    if "update" not in facts or facts.get("waiting"):
        sys.exit(FAILED)


def _programme(
    home: Path, signed: Path | None, registry: Registry, kept: tuple[Store, str] | None
) -> Learning:
    """In force from now on. Where consultations ask another student then, or none, the log says so first."""
    from akazuba.federation.consulted import about_to_ask, asked_now, consulted
    from akazuba.federation.learning import in_force

    learning = in_force(home, None if signed is None else read_given(signed), registry, now_s())
    with own_releases() as releases:
        held = releases.in_force()
    fits = held if held is not None and held.release.meaning == learning.meaning else None
    if asked_now(home) != (fits.id if fits else ""):
        if kept is not None:
            about_to_ask(*kept, learning.programme, fits)
        consulted(home, held, learning)
    return learning


def _learned(
    sender: Sender, store: Store, by: str, learning: Learning, release: ModelRelease, epsilon: float | None
) -> dict[str, Any]:
    """Trains if the sun allows it. The log has it before the outbox."""
    from akazuba.federation.own_records import UPDATE
    from akazuba.federation.terminal import LocalNoise, Training, train
    from akazuba.privacy.ledger import Ledger
    from akazuba.settings import from_environ

    facts, cases = _cases(store, by, UPDATE, learning, release.version)
    if cases is None:
        return facts
    with Ledger(from_environ().home) as ledger:
        noise = None if epsilon is None else LocalNoise(epsilon, ledger)
        network, training = learning.network(), Training()
        made = train(sender.outbox, sender.identity, release, network, cases, training, now_s, noise)
        if epsilon is not None:
            facts["epsilon spent in all"] = ledger.total("clinic")
    return facts | {"update": made.id, "bytes": made.size}


def _cases(
    store: Store, by: str, purpose: str, learning: Learning, version: int
) -> tuple[dict[str, Any], OwnCases | None]:
    """What is told of them, and the cases, once they are in the log; None while the sun does not allow it."""
    verdict = sun()
    facts: dict[str, Any] = {"energy": verdict.because, "base version": version}
    if not verdict.allowed:
        return facts, None
    entry, found = gathered(store, by, purpose, learning, version)
    facts |= {"cases": dict(found.classes), "left out": dict(found.left_out), "entry of the log": entry.index}
    return facts, found.cases


def gathered(
    store: Store, by: str, purpose: str, learning: Learning, version: int
) -> tuple[Recorded, Gathered]:
    """The box's own cases, and the log's entry about them. Raises InputError for too few."""
    from akazuba.federation.own_records import about_to_learn, gather
    from akazuba.federation.terminal import Training
    from akazuba.settings import from_environ
    from akazuba.terminology import open_terminology

    with open_terminology(from_environ().home) as terms:
        found = gather(store, learning, terms.ancestors, store.now_ms())
    return about_to_learn(store, by, purpose, found, learning, version, Training.least), found


@dataclass(frozen=True)
class _Shared:
    """The student that was adopted, else the newest model that was fetched."""

    what: str
    version: int
    network: Network
    numbers: Numbers


def _shared(learning: Learning, sender: Sender) -> _Shared:
    """Raises InputError when there is none, or it is not of this programme."""
    from akazuba.errors import InputError
    from akazuba.federation.release_student import dequantised
    from akazuba.federation.updates import released

    network = learning.network()
    with own_releases() as releases:
        held = releases.in_force()
    if held is not None:
        learning.require(held.release.meaning, f"student {held.release.number}")
        of = held.release.network
        found = _Shared("student", held.release.number, of, dequantised(of, held.release.student))
    elif (data := sender.outbox.model()) is not None:
        release = released(data, sender.registry, now_s())
        learning.require(release.meaning, f"model {release.version}")
        found = _Shared("model", release.version, network, release.values())
    else:
        raise InputError("model", "one that was fetched, or a student that was adopted", "none")
    shapes = [(one.features, one.classes) for one in (network, found.network)]
    if shapes[0] != shapes[1] or len(found.numbers) != found.network.dimension:
        item, said = f"{found.what} {found.version}", f"{shapes[1]}, {len(found.numbers)} numbers"
        raise InputError(item, f"features and classes {shapes[0]}, of the programme", said)
    return found


@click.command("own-head")
@AS
@JSON
def own_head(who: str | None, as_json: bool) -> None:
    """At a terminal: try a last layer of this box's own over the shared model. It never leaves the box.

    It is used by `akazuba federate opinion` only where it is better on own cases that it did not learn from.

    Example: akazuba federate own-head
    """
    from akazuba.cli.store import acting, opened_store
    from akazuba.federation import own_head as heads
    from akazuba.federation.learning import in_force
    from akazuba.federation.own_records import OWN
    from akazuba.settings import from_environ

    with errors_shown(), own_sender() as sender, opened_store() as store:
        by = acting(store, who, "operate")
        learning = in_force(from_environ().home, None, sender.registry, now_s())
        shared = _shared(learning, sender)
        facts, cases = _cases(store, by, OWN, learning, shared.version)
        if cases is not None:
            trial = heads.keep(store, shared.network, shared.numbers, cases)
            facts |= {
                "held-out cases": trial.cases,
                "right": {"shared": trial.right_shared, "own": trial.right_own},
                "nats a case": {"shared": trial.loss_shared, "own": trial.loss_own},
                "gain": f"{trial.gain:.3f} nats, standard error {trial.error:.3f}",
                "in use": heads.in_use(store, shared.network, shared.numbers)[1],
            }
    show(json.dumps(facts) if as_json else as_text(facts))
    if cases is None:
        sys.exit(FAILED)


@click.command()
@click.argument("assessment", type=click.IntRange(0))
@AS
@JSON
def opinion(assessment: int, who: str | None, as_json: bool) -> None:
    """At a terminal: what the shared model says of a recorded visit, beside the advice and not part of it.

    ASSESSMENT is its entry in the log. No clinician has reviewed what the model says. The look is logged.

    Example: akazuba federate opinion 4711
    """
    from akazuba.cli.store import acting, now_ms, opened_store
    from akazuba.diagnosis.network import softmax
    from akazuba.federation import own_head as heads
    from akazuba.federation.learning import in_force, vector
    from akazuba.governance.audit_reads import record_reads
    from akazuba.governance.decisions import assessment_at, basis_of, stored
    from akazuba.records import Assessment, Case
    from akazuba.settings import from_environ
    from akazuba.terminology import open_terminology

    with errors_shown(), own_sender() as sender, opened_store() as store:
        by = acting(store, who, "see-patients")
        home = from_environ().home
        learning = in_force(home, None, sender.registry, now_s())
        shared = _shared(learning, sender)
        entry = assessment_at(store, assessment, None)
        patients = [entry.patient] if entry.patient else []
        record_reads(store, patients, by, "the shared model's opinion", f"assessment {assessment}", now_ms)
        case = stored(store.entry(basis_of(store, entry).case), Case)
        numbers, why = heads.in_use(store, shared.network, shared.numbers)
        with open_terminology(home) as terms:
            inputs = vector(case, stored(entry, Assessment), learning, terms.ancestors)
        (chances,) = softmax(shared.network.scores(numbers, inputs[None])).tolist()
    named = dict(sorted(zip(learning.conditions, chances, strict=True), key=lambda one: -one[1]))
    facts = {
        "assessment": assessment,
        shared.what: shared.version,
        "by": why,
        "review": "not reviewed by a clinician; knows these conditions only",
        "probabilities": named if as_json else {name: f"{chance:.3f}" for name, chance in named.items()},
    }
    show(json.dumps(facts) if as_json else as_text(facts))
