"""`akazuba qkd …`: a key management entity, certificates to try it, and a simulated link that feeds it."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from akazuba.cli.qkd_simulate import simulate, whole
from akazuba.cli.shared import errors_shown, show
from akazuba.errors import InputError

if TYPE_CHECKING:
    from akazuba.privacy.qkd.client import LinkClient

WATCH_S = 1.0


@click.group()
def qkd() -> None:
    """Quantum keys: delivery after ETSI GS QKD 014, and a link that is SIMULATED.

    Example: akazuba qkd simulate --km 25
    """


qkd.add_command(simulate)


@qkd.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--kme", "kmes", multiple=True, required=True, help="Name of a KME; give both ends.")
@click.option("--sae", "saes", multiple=True, required=True, help="NAME or NAME@KME, any number.")
@click.option("--link", default="link", show_default=True, help="Name of the link that brings blocks.")
@click.option("--host", "hosts", multiple=True, help="Where the KMEs serve, besides this machine.")
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True)
@click.option("--port", type=click.IntRange(1, 65_534), default=8441, show_default=True)
def certificates(
    folder: Path,
    kmes: tuple[str, ...],
    saes: tuple[str, ...],
    link: str,
    hosts: tuple[str, ...],
    days: int,
    port: int,
) -> None:
    """Make an authority, certificates and both KMEs' configurations, FOR TRIALS ONLY, in a new FOLDER.

    An SAE without @KME goes to the first KME, the next to the second, and so on. The KMEs listen at PORT and
    PORT + 1 of this machine until you change their configurations.

    Example: akazuba qkd certificates trial --kme kme-a --kme kme-b --sae sae-1 --sae sae-2
    """
    import msgspec

    from akazuba.privacy.qkd.certificates import TRIAL, make_trial_authority
    from akazuba.privacy.qkd.configuration import trial_sites

    with errors_shown():
        if len(kmes) != 2:
            raise InputError("--kme", "the names of both ends", ", ".join(kmes))
        served = {
            name: kme or kmes[index % 2]
            for index, (name, _, kme) in enumerate(sae.partition("@") for sae in saes)
        }
        sites = trial_sites((kmes[0], kmes[1]), served, link, (port, port + 1))
        here = ("127.0.0.1", "localhost", *hosts)
        make_trial_authority(folder, kmes, list(served), link, datetime.now(UTC), hosts=here, days=days)
        for site in sites:
            content = msgspec.json.format(msgspec.json.encode(site), indent=2)
            (folder / f"{site.id}.json").write_bytes(content + b"\n")
    for site in sites:
        show(f"akazuba qkd kme {folder / site.id}.json")
    show(f"{TRIAL}: made by this command, for {days} days. Real ones come from your own authority.")


@qkd.command()
@click.argument("configuration", type=click.Path(path_type=Path))
def kme(configuration: Path) -> None:
    """Run one key management entity until it is stopped: keys for SAEs after ETSI GS QKD 014.

    Example: akazuba qkd kme trial/kme-a.json
    """
    with errors_shown():
        if find_spec("cheroot") is None:
            raise InputError("cheroot", "the package cheroot (extra qkd)", "not installed")
        from akazuba.privacy.qkd.configuration import read_site
        from akazuba.privacy.qkd.kme_server import start

        site = read_site(configuration)
        running = start(site, configuration)
    show(f"{site.id}: https://{site.host}:{running.port}/api/v1/keys/")
    said = False
    try:
        while True:
            if running.kme.simulated and not said:
                show(f"SIMULATED: {site.id} holds keys that no quantum link made.")
                said = True
            time.sleep(WATCH_S)
    finally:
        running.stop()


@qkd.command()
@click.argument("configurations", nargs=2, type=click.Path(path_type=Path), metavar="CONFIG CONFIG")
@click.option("--km", type=float, default=25.0, show_default=True, help="Length of the fibre.")
@click.option("--pulses", type=float, default=1e9, show_default=True, help="Sent for one block.")
@click.option("--blocks", type=click.IntRange(1), default=1, show_default=True)
@click.option("--seed", type=click.IntRange(0), help="Of the simulation; without it, of the system.")
def feed(configurations: tuple[Path, Path], km: float, pulses: float, blocks: int, seed: int | None) -> None:
    """Give both KMEs blocks of key from a SIMULATED link of KM kilometres.

    The link's certificate lies beside the first configuration's authority. With a seed everybody can compute
    the same keys.

    Example: akazuba qkd feed trial/kme-a.json trial/kme-b.json --km 25 --blocks 2
    """
    import numpy as np

    from akazuba.errors import KeysExhaustedError
    from akazuba.privacy.qkd.bb84 import run_session
    from akazuba.privacy.qkd.decoy import LinkParameters
    from akazuba.privacy.qkd.messages import Block
    from akazuba.privacy.qkd.tuning import tuned

    with errors_shown(), ExitStack() as stack:
        link = tuned(LinkParameters(km=km, pulses=whole(pulses)))
        ends = [stack.enter_context(closing(_link_to(path))) for path in configurations]
        random = np.random.default_rng(seed)
        for _ in range(blocks):
            session = run_session(link, random)
            if session.key is None:
                raise KeysExhaustedError("SIMULATED link", "a session that gives a key", session.aborted)
            block = Block(max(end.next_number() for end in ends), session.key, simulated=True)
            for end in ends:
                end.give(block)
            show(f"SIMULATED block {block.number} of {len(block.bits) * 8} bits over {km:g} km: at both ends")


def _link_to(configuration: Path) -> LinkClient:
    from akazuba.privacy.qkd.certificates import client_context
    from akazuba.privacy.qkd.client import Line, LinkClient
    from akazuba.privacy.qkd.configuration import read_site

    site = read_site(configuration)
    authority = site.path(site.authority, configuration)
    own = [authority.parent / f"{site.link}{ending}" for ending in (".crt.pem", ".key.pem")]
    tls = client_context(own[0], own[1], authority)
    return LinkClient(Line(f"https://{site.host}:{site.port}", tls, server=site.id, timeout_s=30.0))
