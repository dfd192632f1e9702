"""What the commands of `akazuba federate` begin with: the box's keys, its outbox, its clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import click

from akazuba.cli.shared import show

if TYPE_CHECKING:
    from akazuba.diagnosis.network import Network
    from akazuba.energy.surplus import Verdict
    from akazuba.federation.carrying import Carrier
    from akazuba.federation.doors import HttpLink
    from akazuba.federation.release import Releases
    from akazuba.federation.sending import Sender
    from akazuba.privacy.keys.identity import Identity
    from akazuba.privacy.keys.registry import Registry
    from akazuba.privacy.keys.store import KeyStore
    from akazuba.storage.store import Store

AUTHORITY = click.option(
    "--authority",
    type=click.Path(path_type=Path),
    help="Of a gateway: PEM of whom its certificate is from.",
)

CLASSES = click.option("--classes", type=click.IntRange(2, 1000), default=2, show_default=True)
HIDDEN = click.option("--hidden", type=click.IntRange(0, 10_000), default=0, show_default=True)


def of_network(command: Callable[..., None]) -> Callable[..., None]:
    """What `network_of` takes."""
    programme = click.option(
        "--programme",
        "signed",
        type=click.Path(path_type=Path),
        help="What all boxes learn: gives the network.",
    )
    features = click.option(
        "--features", type=click.IntRange(1, 100_000), help="Of the network; with --classes and --hidden."
    )
    return programme(features(CLASSES(HIDDEN(command))))


def now_s() -> int:
    """Seconds since 1970."""
    return int(time.time())


@contextmanager
def own_keys() -> Iterator[KeyStore]:
    from akazuba.privacy.keys.store import KeyStore
    from akazuba.settings import from_environ

    with closing(KeyStore(from_environ().home / "keys.sqlite3", now_s)) as keys:
        yield keys


@contextmanager
def own_sender() -> Iterator[Sender]:
    """Outbox and beliefs of this terminal; what leaves is in the privacy ledger before, once."""
    from akazuba.federation.outbox import FILE, Outbox
    from akazuba.federation.sending import Sender
    from akazuba.privacy.ledger import UNPROTECTED, Ledger
    from akazuba.settings import from_environ

    home = from_environ().home
    with own_keys() as keys, closing(Outbox(home / FILE, now_s)) as outbox, Ledger(home) as ledger:
        known = {one.sha256 for one in ledger.departures()}

        def departing(data: bytes) -> None:
            if (digest := sha256(data).hexdigest()) not in known:
                ledger.depart("model-update", "federation gateway", data, UNPROTECTED)
                known.add(digest)

        yield Sender(outbox, keys.identity(), keys.registry(), now_s, departing)


@contextmanager
def own_releases() -> Iterator[Releases]:
    """Students that this box has published or adopted."""
    from akazuba.federation.release import FILE, Releases
    from akazuba.settings import from_environ

    with closing(Releases(from_environ().home / FILE, now_s)) as opened:
        yield opened


@contextmanager
def own_records(home: Path, who: str | None) -> Iterator[tuple[Store, str] | None]:
    """The open store and who may operate it; None on a box that keeps no records."""
    from akazuba.cli.store import acting, opened_store
    from akazuba.storage.unlocking import KEY_FILE

    if not (home / KEY_FILE).exists():
        yield None
        return
    with opened_store() as store:
        yield store, acting(store, who, "operate")


def is_url(place: str) -> bool:
    """Of a gateway, where a folder or a file may stand too."""
    return place.startswith(("http://", "https://"))


@contextmanager
def own_carrier(
    url: str, authority: Path | None, identity: Identity, registry: Registry
) -> Iterator[Carrier]:
    """A gateway that carries files, for this box."""
    from akazuba.federation.board import ALL
    from akazuba.federation.carrying import Carrier
    from akazuba.federation.doors import HttpLink

    me = registry.member(identity.public.key_id, ALL, now_s())
    with closing(HttpLink(url, authority)) as link:
        yield Carrier(link, identity, me, now_s)


def fetched(sender: Sender, link: HttpLink) -> int | None:
    """Version of the newest model, which is kept; None where the gateway has none or cannot be reached, which
    is told.
    """
    from akazuba.federation.sending import LinkError
    from akazuba.federation.updates import released

    try:
        if (data := link.model()) is None:
            return None
        version = released(data, sender.registry, now_s()).version
        sender.outbox.keep_model(version, data)
    except LinkError as problem:
        click.echo(f"error: {problem}", err=True)
        return None
    return version


def sun() -> Verdict:
    """Whether this box may train now."""
    from akazuba.energy.today import training_allowed
    from akazuba.federation.terminal import TRAINING_H
    from akazuba.settings import from_environ

    return training_allowed(from_environ().home, now_s(), TRAINING_H)


def read_given(path: Path) -> bytes:
    from akazuba.errors import InputError, why_not_opened

    try:
        return path.read_bytes()
    except OSError as problem:
        raise InputError(str(path), "a file that can be read", why_not_opened(problem)) from problem


def write_out(path: Path, data: bytes) -> None:
    from akazuba.federation.stick import put

    put(path, data)
    show(f"written: {path}")


def network_of(
    signed: Path | None, registry: Registry, features: int | None, classes: int, hidden: int
) -> tuple[Network, bytes]:
    """The network of all boxes, and what its inputs and classes mean; empty without a programme."""
    from akazuba.diagnosis.network import Network
    from akazuba.errors import InputError
    from akazuba.federation.learning import learning_of

    if (signed is None) is (features is None):
        raise InputError("network", "--programme or --features", "neither" if signed is None else "both")
    if signed is None:
        return Network(features or 0, classes, hidden), b""
    learning = learning_of(read_given(signed), registry, now_s())
    return learning.network(), learning.meaning
