"""The masked mode: the server sees a noised sum of at least `least` clinics and no single update.

A round of `privacy.aggregation` is one buffer, of terminals that all train from one release. Since nobody
but the clinic sees its update, the clinic weights it itself by the release's terms, before it is clipped,
rounded, noised and masked there; and since nobody sees it, **nobody sees that it is poison**: what a liar can
do is bounded by the clip and by being in a round once.

A round travels as files in a folder (a stick, a share, or a gateway's `board`), each of them signed:

    coordinator   begun: a round on its newest release           mask stewards   their keys for it
    coordinator   the plan                                       terminals       one upload each
    mask stewards which boxes do not open                        coordinator     who is in the sum
    mask stewards their shares of the sum of seeds               coordinator     the sum, and a version of it
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from akazuba.errors import InputError, UntrustedError
from akazuba.federation.board import (
    ACCEPTED,
    BEGUN,
    FAULTY,
    KEY,
    PLAN,
    RELEASE,
    SHARE,
    UPLOAD,
    VERSION,
    Begun,
    Faulty,
    clear,
)
from akazuba.federation.coordinator import Coordinator
from akazuba.federation.stick import FOLDER, found, put
from akazuba.federation.updates import ModelRelease, Numbers, released
from akazuba.federation.weights import Weights
from akazuba.privacy.aggregation.bfv import Bfv
from akazuba.privacy.aggregation.clinic import Checked, Terms, checked_plan, contribute_once
from akazuba.privacy.aggregation.encode import scale_for
from akazuba.privacy.aggregation.messages import Accepted, MaskKey, Plan, Upload, digest
from akazuba.privacy.aggregation.server import Round, Total
from akazuba.privacy.aggregation.stewards import MaskSteward
from akazuba.privacy.keys.identity import Identity
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.signed import believed, read, sign, unwrap
from akazuba.privacy.ledger import Ledger, Release


def begin(
    folder: Path,
    identity: Identity,
    release: bytes,
    round_id: bytes,
    ends: int,
    over: Callable[[Begun], bool] = lambda _: False,
) -> None:
    """At the coordinator. release: its newest. over: whether a round that is in the folder may go. Raises
    InputError for a programme that adds noise or takes centres itself, and when a round is in the folder that
    is not over.
    """
    newest = believed(release, "model-release", ModelRelease)
    if newest.grid or newest.robust:
        raise InputError("masked round", "a programme without central noise and robust centres", "one with")
    if (folder / FOLDER / BEGUN).exists():
        if not over(believed(_file(folder, BEGUN), "masked-begun", Begun)):
            raise InputError(str(folder), "a folder without a masked round that is not over", "one is in it")
        clear(folder)
    put(folder / FOLDER / RELEASE, release)
    put(folder / FOLDER / BEGUN, sign(identity, "masked-begun", Begun(round_id, ends)))


def announce(folder: Path, steward: MaskSteward, key_id: str, registry: Registry, now: int) -> None:
    """At a mask steward: its key for the round that is begun; one that is there stays."""
    begun = _begun(folder, registry, now)
    for path, data in found(folder, KEY):
        same = believed(data, "mask-key", MaskKey).round_id == begun.round_id
        if path.name.startswith(key_id) and same:
            return
    put(folder / FOLDER / f"{key_id}{KEY}", steward.announce(begun.round_id, begun.ends))


def plan(
    folder: Path,
    identity: Identity,
    registry: Registry,
    now: int,
    *,
    least: int,
    most: int,
    threshold: int,
    noise_multiplier: float,
) -> Plan:
    """At the coordinator, when the stewards' keys are there. noise_multiplier: standard deviation of the
    noise of `least` clinics over the sensitivity. Raises UntrustedError for a plan that would hide nothing,
    InputError when another one was signed for this round.
    """
    begun, release = _begun(folder, registry, now), _release(folder, registry, now)
    dimension = len(release.numbers) // 4
    coding, sigma = scale_for(begun.round_id, dimension, release.clip_norm, most, noise_multiplier, least)
    made = Plan(
        begun.round_id,
        "mask",
        purpose(release),
        dimension,
        release.clip_norm,
        coding.scale,
        sigma,
        least,
        most,
        threshold,
        tuple(data for _, data in found(folder, KEY)),
        None,
        begun.ends,
    )
    if (folder / FOLDER / PLAN).exists():
        before = believed(_file(folder, PLAN), "plan", Plan)
        if before == made:
            return made
        if before.round_id == made.round_id:
            raise InputError("plan", "the one that was signed for this round (or begin another)", "another")
    signed = sign(identity, "plan", made)
    checked_plan(signed, registry, now)
    put(folder / FOLDER / PLAN, signed)
    return made


def purpose(release: ModelRelease) -> str:
    """What a round on this release, and no other, is for."""
    return f"model of {release.programme}, version {release.version}, {release.base().sha256.hex()[:32]}"


def planned(
    folder: Path, registry: Registry, now: int, terms: Terms | None = None, *, ended: bool = False
) -> tuple[Checked, ModelRelease]:
    """The plan and the one release that all who take part train from. Raises UntrustedError for another
    release, and as `checked_plan` does.
    """
    checked = checked_plan(_file(folder, PLAN), registry, now, terms, ended=ended)
    release = _release(folder, registry, now)
    if purpose(release) != checked.plan.purpose:
        raise UntrustedError("masked round", checked.plan.purpose, purpose(release))
    return checked, release


def give(
    folder: Path,
    ledger: Ledger,
    identity: Identity,
    checked: Checked,
    release: ModelRelease,
    change: Numbers,
    examples: int,
    random: Callable[[int], bytes],
) -> Release:
    """At a terminal: its change from the round's release, as `contribution` hides it. It is of now, and of
    the newest version; the plan and release are `planned`'s.
    """
    made = contribution(
        ledger, identity, checked, release, change, examples=examples, behind=0, age_s=0.0, random=random
    )
    put(folder / FOLDER / f"{identity.public.key_id}{UPLOAD}", made.document)
    return made


def look(folder: Path, steward: MaskSteward, identity: Identity, registry: Registry, now: int) -> int:
    """At a mask steward, before the round is closed: how many uploads do not open here. They are left out."""
    checked, _ = planned(folder, registry, now)
    bad = steward.faulty(_file(folder, PLAN), _boxes(folder, checked, identity.public.key_id))
    said = sign(identity, "masked-faulty", Faulty(checked.plan.round_id, now, bad))
    put(folder / FOLDER / f"{identity.public.key_id}{FAULTY}", said)
    return len(bad)


def server(folder: Path, home: Path, identity: Identity, registry: Registry, now: Callable[[], int]) -> Round:
    """At the coordinator: what it holds of the round. home: of its box."""
    checked, _ = planned(folder, registry, now(), ended=True)
    path = home / "masked" / f"{checked.plan.round_id.hex()}.sqlite3"
    return Round(path, _file(folder, PLAN), identity, registry, now)


def close(folder: Path, held: Round, registry: Registry, now: int) -> tuple[int, list[str]]:
    """At the coordinator: takes the uploads in and names who is in the sum: how many, and why others are
    not. Raises UntrustedError for fewer than the plan's least; more may still come then.
    """
    checked, _ = planned(folder, registry, now)
    refused = [] if held.closed else _taken_in(folder, held, registry, checked, now)
    accepted = held.accept()
    put(folder / FOLDER / ACCEPTED, accepted)
    return len(believed(accepted, "accepted", Accepted).contributions), refused


def _taken_in(folder: Path, held: Round, registry: Registry, checked: Checked, now: int) -> list[str]:
    """Why some uploads are not."""
    refused = []
    for _, data in found(folder, UPLOAD):
        try:
            held.take(data)
        except UntrustedError as problem:
            refused.append(str(problem))
    for _, data in found(folder, FAULTY):
        told, steward = registry.said(data, "masked-faulty", Faulty, ["mask-steward"], now)
        if told.round_id != checked.plan.round_id or steward.public.key_id not in checked.stewards:
            raise UntrustedError("faulty uploads", "what a steward of this round says", steward.name)
        for clinic, why in told.clinics.items():
            held.drop(clinic, why)
            refused.append(why)
    return refused


def share(folder: Path, steward: MaskSteward, key_id: str, registry: Registry, now: int) -> None:
    """At a mask steward: its share of the sum over exactly the named ones. Raises UntrustedError."""
    checked, _ = planned(folder, registry, now, ended=True)
    accepted = _file(folder, ACCEPTED)
    named = believed(accepted, "accepted", Accepted).contributions
    given = [pair for pair in _boxes(folder, checked, key_id) if digest(pair[0]) in named]
    put(folder / FOLDER / f"{key_id}{SHARE}", steward.release(_file(folder, PLAN), accepted, given))


def opened(
    folder: Path, held: Round, coordinator: Coordinator, registry: Registry, now: int
) -> tuple[Total, int]:
    """At the coordinator: the sum, and the version that it becomes, once however often it is opened.

    Raises UntrustedError for too few shares, InputError when the model has moved on since the round began.
    """
    checked, release = planned(folder, registry, now, ended=True)
    name, known = round_name(checked.plan.round_id), coordinator.version_of(round_name(checked.plan.round_id))
    newest = believed(coordinator.release(), "model-release", ModelRelease)
    if known is None and newest.base() != release.base():
        raise InputError(name, f"one on version {newest.version}, the newest", f"version {release.version}")
    total = held.opened([data for _, data in found(folder, SHARE)])
    if known is None:
        known = coordinator.adopt(total.update.astype(np.float32), total.clinics, name).version
    put(folder / FOLDER / VERSION, coordinator.release())
    return total, known


def over(begun: Begun, coordinator: Coordinator, now: int) -> bool:
    """Whether a round has ended, or is in a version."""
    return now > begun.ends or coordinator.version_of(round_name(begun.round_id)) is not None


def round_name(round_id: bytes) -> str:
    """By which a coordinator knows that a round is in a version."""
    return f"round {round_id.hex()}"


def _file(folder: Path, name: str) -> bytes:
    for path, data in found(folder, name):
        if path.name == name:
            return data
    raise InputError(str(folder / FOLDER / name), "a file of a masked round", "none")


def _begun(folder: Path, registry: Registry, now: int) -> Begun:
    return registry.said(_file(folder, BEGUN), "masked-begun", Begun, ["coordinator"], now)[0]


def _release(folder: Path, registry: Registry, now: int) -> ModelRelease:
    return released(_file(folder, RELEASE), registry, now)


def _boxes(folder: Path, checked: Checked, key_id: str) -> list[tuple[bytes, bytes]]:
    """Each upload's contribution and this steward's box, in the order of the contributions' digests. What is
    no upload to this plan is left to the coordinator to refuse.
    """
    if key_id not in checked.stewards:
        raise UntrustedError("plan", "one with this steward", "one without it")
    pairs = []
    for path, data in found(folder, UPLOAD):
        with suppress(UntrustedError):
            upload = read(data, path.name, Upload)
            unwrap(upload.contribution, "contribution")
            if len(upload.boxes) == len(checked.stewards):
                pairs.append((upload.contribution, upload.boxes[checked.stewards.index(key_id)]))
    unique = {digest(contribution): (contribution, box) for contribution, box in pairs}
    return [unique[key] for key in sorted(unique)]


def contribution(
    ledger: Ledger,
    identity: Identity,
    checked: Checked,
    release: ModelRelease,
    change: Numbers,
    *,
    examples: int,
    behind: int,
    age_s: float,
    random: Callable[[int], bytes],
    bfv: Bfv | None = None,
) -> Release:
    """A clinic's upload to a round: its change weighted by the newest release's terms, then clipped, noised
    and masked; charged for in its privacy ledger, once.

    change: (dimension,). behind: versions between its base and `release`. age_s: since it was trained. Raises
    InputError for a change of another size, BudgetError when the clinic's budget does not reach.
    """
    if change.shape != (checked.plan.dimension,) or len(release.numbers) != 4 * checked.plan.dimension:
        sizes = f"{change.shape} and a model of {len(release.numbers) // 4}"
        raise InputError("update", f"{checked.plan.dimension} numbers, as the plan says", sizes)
    weights = Weights(release.cap, release.alpha, release.half_life_s, release.floor)
    weighted = change * np.float32(weights.weight(examples, behind, age_s))
    return contribute_once(ledger, identity, checked, weighted, random, bfv)
