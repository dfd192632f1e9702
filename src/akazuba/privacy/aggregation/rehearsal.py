"""A whole round on one machine, every party real but the clinics' updates: a SIMULATED programme.

For tests, benchmarks and a steward who wants to see a round before the first one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy.typing as npt

from akazuba.privacy.aggregation.bfv import Bfv
from akazuba.privacy.aggregation.clinic import (
    Checked,
    Terms,
    checked_plan,
    contribute,
    encryption_context,
)
from akazuba.privacy.aggregation.encode import scale_for
from akazuba.privacy.aggregation.messages import Path as How, Plan, digest
from akazuba.privacy.aggregation.server import Round, Total
from akazuba.privacy.aggregation.stewards import HeSteward, MaskSteward
from akazuba.privacy.keys.enrolment import Role, enrol, request, requested
from akazuba.privacy.keys.identity import Identity, new_identity
from akazuba.privacy.keys.registry import Registry
from akazuba.privacy.keys.signed import sign

HOUR_S = 3600


@dataclass
class Programme:
    """clinics, stewards: identities. folder: for the files of server and stewards."""

    folder: Path
    registry: Registry
    authority: Identity
    coordinator: Identity
    clinics: list[Identity]
    mask_stewards: list[MaskSteward]
    he_steward: HeSteward
    now: Callable[[], int]

    def close(self) -> None:
        for steward in (*self.mask_stewards, self.he_steward):
            steward.close()


def programme(folder: Path, clinics: int, stewards: int, now: Callable[[], int], least: int = 2) -> Programme:
    """An authority, a coordinator, clinics and stewards, all enrolled. least: the stewards' own."""
    authority = new_identity(os.urandom)
    registry = Registry("rehearsal", authority.public)
    serial = 0

    def member(name: str, role: Role) -> Identity:
        nonlocal serial
        serial += 1
        made = new_identity(os.urandom)
        asked = requested(request(made, "rehearsal", name, role, now()), "rehearsal", now())
        registry.believe(enrol(authority, "rehearsal", asked, serial, now()), now())
        return made

    return Programme(
        folder,
        registry,
        authority,
        member("coordinator", "coordinator"),
        [member(f"clinic {i + 1}", "terminal") for i in range(clinics)],
        [
            MaskSteward(
                folder / f"steward-{i + 1}.sqlite3",
                member(f"mask steward {i + 1}", "mask-steward"),
                registry,
                now,
                os.urandom,
                least,
            )
            for i in range(stewards)
        ],
        HeSteward(
            folder / "he-steward.sqlite3", member("HE steward", "he-steward"), registry, now, os.urandom
        ),
        now,
    )


@dataclass(frozen=True)
class Planned:
    """plan: signed. context: the HE steward's public one, on the HE path."""

    plan: bytes
    checked: Checked
    context: bytes | None


def planned(
    made: Programme,
    path: How,
    dimension: int,
    *,
    least: int,
    most: int,
    threshold: int,
    clip_norm: float = 1.0,
    noise_multiplier: float = 1.0,
    **changes: object,
) -> Planned:
    """A signed plan with the stewards' keys. changes: fields of the plan to bend, for tests."""
    round_id = os.urandom(16)
    coding, sigma = scale_for(round_id, dimension, clip_norm, most, noise_multiplier, least)
    ends = made.now() + HOUR_S
    key = made.he_steward.announce(round_id, ends) if path == "he" else None
    plan = Plan(
        round_id,
        path,
        "rehearsal (SIMULATED updates)",
        dimension,
        clip_norm,
        coding.scale,
        sigma,
        least,
        most,
        threshold,
        tuple(steward.announce(round_id, ends) for steward in made.mask_stewards),
        digest(key) if key else None,
        ends,
    )
    signed = sign(made.coordinator, "plan", msgspec.structs.replace(plan, **changes))
    checked = checked_plan(signed, made.registry, made.now(), Terms(2, 0.0, 1, 1))
    context = encryption_context(checked, key, made.registry, made.now()) if key else None
    return Planned(signed, checked, context)


def uploads(made: Programme, given: Planned, updates: Sequence[npt.ArrayLike]) -> list[bytes]:
    """One upload of each of the first clinics."""
    if given.context is None:
        parts = [
            contribute(clinic, given.checked, update, os.urandom)
            for clinic, update in zip(made.clinics, updates, strict=False)
        ]
    else:
        with Bfv() as bfv:
            bfv.open(given.context)
            parts = [
                contribute(clinic, given.checked, update, os.urandom, bfv)
                for clinic, update in zip(made.clinics, updates, strict=False)
            ]
    return [msgspec.msgpack.encode(part) for part in parts]


def opened(made: Programme, given: Planned, server: Round, stewards: Sequence[int]) -> Total:
    """From the checks before a round closes to its sum. stewards: indices (from 1) of those who answer."""
    if not server.closed:
        bad = server.unreadable(given.context) if given.context else {}
        for i in stewards:
            bad |= made.mask_stewards[i - 1].faulty(given.plan, server.for_mask_steward(i))
        for clinic, why in bad.items():
            server.drop(clinic, why)
    accepted = server.accept()
    shares = [
        made.mask_stewards[i - 1].release(given.plan, accepted, server.for_mask_steward(i)) for i in stewards
    ]
    masked = None
    if given.context is not None:
        masked = made.he_steward.decrypt(given.plan, accepted, server.with_bodies())
    return server.opened(shares, masked)
