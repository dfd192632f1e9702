"""`akazuba qkd simulate`: one session of a quantum link that does not exist, and its rate over distance."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from akazuba.cli.shared import errors_shown, show
from akazuba.errors import InputError, why_not_opened

if TYPE_CHECKING:
    from akazuba.privacy.qkd.bb84 import Session
    from akazuba.privacy.qkd.decoy import LinkParameters
    from akazuba.privacy.qkd.pulses import Eavesdropper
    from akazuba.privacy.qkd.tuning import Rates

POINTS = 61


@dataclass(frozen=True)
class Reach:
    """The longest distance in km with a key: of endless pulses with endless decoys or with vacuum and the
    weak one, and of one session.
    """

    endless: float
    weak_decoy: float
    session: float


@click.command()
@click.option("--km", type=float, default=25.0, show_default=True, help="Length of the fibre.")
@click.option("--pulses", type=float, default=1e9, show_default=True, help="Laser pulses of the session.")
@click.option(
    "--eavesdropper", type=float, default=0.0, show_default=True, help="Share of the pulses intercepted."
)
@click.option(
    "--split-photons",
    is_flag=True,
    help="The eavesdropper keeps a photon of every pulse that has more than one.",
)
@click.option("--seed", type=click.IntRange(min=0), help="For trials only: whoever knows it knows the key.")
@click.option("--svg", type=click.Path(path_type=Path), help="Draw the rate over distance into this file.")
@click.option("--json", "as_json", is_flag=True)
def simulate(
    km: float,
    pulses: float,
    eavesdropper: float,
    split_photons: bool,
    seed: int | None,
    svg: Path | None,
    as_json: bool,
) -> None:
    """SIMULATE a decoy-state BB84 link: what key a session gives, and how far it would reach.

    Photons are drawn; sifting, error correction, privacy amplification and authentication are done as on a
    real link. Intensities and basis choice are tuned to the distance. The key is not shown. A session that
    aborts is a result too (exit code 0).

    Example: akazuba qkd simulate --km 25 --svg rate.svg
    """
    import numpy as np

    from akazuba.privacy.qkd.bb84 import run_session
    from akazuba.privacy.qkd.decoy import LinkParameters
    from akazuba.privacy.qkd.pulses import Eavesdropper
    from akazuba.privacy.qkd.tuning import tuned

    with errors_shown():
        link = tuned(LinkParameters(km=km, pulses=whole(pulses)))
        attack = Eavesdropper(eavesdropper, split_photons)
        if svg is not None and not svg.absolute().parent.is_dir():
            raise InputError("--svg", "a file in a folder that exists", str(svg))
        session = run_session(link, np.random.default_rng(seed), eavesdropper=attack, progress=_progress())
        reach, rates = _over_distance(link)
        if svg is not None:
            _draw(svg, link, session, rates)
    if as_json:
        facts = _facts(link, session, attack, seed, reach)
        show(json.dumps({**facts, "rates": [asdict(each) for each in rates]}))
    else:
        show(_text(link, session, seed, reach, rates))


def whole(pulses: float) -> int:
    if not math.isfinite(pulses) or pulses != int(pulses):
        raise InputError("pulses", "a whole number", repr(pulses))
    return int(pulses)


def _progress() -> Callable[[str, float], None]:
    """Overwrites one line on stderr, when somebody watches."""
    if sys.stderr is None or not sys.stderr.isatty():
        return lambda _stage, _share: None
    shown_s = [0.0]

    def told(stage: str, share: float) -> None:
        now = time.monotonic()
        if now - shown_s[0] >= 0.1 or share >= 1:
            shown_s[0] = now
            click.echo(f"\r\033[KSIMULATED link: {stage} {share:.0%}\r", nl=False, err=True)

    click.get_current_context().call_on_close(lambda: click.echo("\r\033[K", nl=False, err=True))
    return told


def _over_distance(link: LinkParameters) -> tuple[Reach, list[Rates]]:
    from akazuba.privacy.qkd.decoy import asymptotic_rate, finite_rate
    from akazuba.privacy.qkd.tuning import rates_over_distance, reach_km, tuned

    endless = reach_km(link, lambda at: asymptotic_rate(at, endless_decoys=True))
    reach = Reach(endless, reach_km(link, asymptotic_rate), reach_km(link, lambda at: finite_rate(tuned(at))))
    longest = max(10.0, math.ceil(max(endless, link.km) / 10) * 10)
    kms = [longest * step / (POINTS - 1) for step in range(POINTS)]
    return reach, rates_over_distance(link, kms)


def _draw(path: Path, link: LinkParameters, session: Session, rates: Sequence[Rates]) -> None:
    from akazuba.privacy.qkd.plot import svg_plot

    title = f"decoy-state BB84, {link.pulses:.3g} pulses a session"
    try:
        path.write_text(svg_plot(rates, title, (link.km, session.secret_per_pulse)), encoding="utf-8")
    except OSError as problem:
        raise InputError(str(path), "a file to write", why_not_opened(problem)) from problem


def _facts(
    link: LinkParameters, session: Session, attack: Eavesdropper, seed: int | None, reach: Reach
) -> dict[str, Any]:
    """All but what is secret."""
    hidden = ("key", "bobs_key", "preshared", "simulated")
    measured = {each.name: getattr(session, each.name) for each in fields(session) if each.name not in hidden}
    given = {"parameters": asdict(link), "eavesdropper": asdict(attack), "seed": seed}
    return {"simulated": True, **measured, **given, "reach_km": asdict(reach)}


def _text(
    link: LinkParameters, session: Session, seed: int | None, reach: Reach, rates: Sequence[Rates]
) -> str:
    from akazuba.privacy.qkd.plot import text_plot

    settings = ", ".join(
        f"{intensity:.2g} ({share:.0%})"
        for intensity, share in zip(link.intensities, link.shares, strict=True)
    )
    lines = [
        f"SIMULATED: {link.km:g} km of fibre, {link.pulses:.3g} pulses, drawn as {session.drawn}.",
        "Photons are drawn; what follows the detectors is done as on a real link.",
        f"photons a pulse (share of the pulses): {settings}; key basis {link.x_share:.0%}",
        f"sifted bits: {session.sifted_bits} of the key basis, {session.shown_bits} shown to count errors",
        f"QBER: {session.qber:.2%}, at most {session.qber_upper:.2%} but for {link.epsilon_secret:g}",
        f"sure single photons: {session.single_photons:.0f}, phase error at most {session.phase_error:.2%}",
        (
            f"leaked bits: {session.leaked_bits}, {session.corrected_errors} errors corrected,"
            f" Cascade efficiency {session.cascade_efficiency:.3f}"
        ),
        f"authentication: {session.authentication_bits} key bits used"
        + ("" if session.aborted else " and replaced from the new key"),
        f"ABORTED: {session.aborted}" if session.aborted else "aborted: no",
        f"final key: {session.key_bits} bits",
        (
            f"secret rate: {session.secret_per_pulse:.3g} bits per pulse,"
            f" {session.secret_per_s:.4g} bits/s at {link.pulse_rate_hz:.3g} pulses/s"
        ),
        (
            f"security: secret {session.epsilon_secret:g}, correct {session.epsilon_correct:g},"
            f" authentic {session.epsilon_authentic:.1g}"
        ),
    ]
    if seed is not None:
        lines.append(f"seed {seed}: for trials only, whoever knows it knows the key")
    here = (link.km, session.secret_per_pulse)
    reached = (
        f"reach: {reach.endless:.2f} km with endless pulses, {reach.weak_decoy:.2f} km with endless pulses"
    )
    reached += f" and these decoys, {reach.session:.2f} km in one session"
    return "\n".join([*lines, "", text_plot(rates, here), reached])
