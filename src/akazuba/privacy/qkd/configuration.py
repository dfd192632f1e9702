"""What one key management entity is told at its start: a JSON file, whose paths are relative to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from akazuba.errors import InputError, why_not_opened
from akazuba.privacy.qkd.messages import MAX_REQUEST

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Port = Annotated[int, Meta(ge=0, le=65_535)]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes in bits, multiples of 8. max_key_count: keys of key_size that the pool may hold for each of the
    two directions. unclaimed_s: seconds that a key waits for its takers.
    """

    key_size: Annotated[int, Meta(ge=8, le=65_536, multiple_of=8)] = 256
    min_key_size: Annotated[int, Meta(ge=8, le=65_536, multiple_of=8)] = 64
    max_key_size: Annotated[int, Meta(ge=8, le=65_536, multiple_of=8)] = 4096
    max_key_per_request: Annotated[int, Meta(ge=1, le=1024)] = 128
    max_key_count: Annotated[int, Meta(ge=1, le=10_000_000)] = 100_000
    max_SAE_ID_count: Annotated[int, Meta(ge=0, le=32)] = 8  # noqa: N815 - the standard's name
    unclaimed_s: Annotated[float, Meta(gt=0, le=31_536_000)] = 3600.0


class Peer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The entity at the other end of the link."""

    id: Name
    url: str


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key management entity. saes: each SAE and the KME that serves it. link: name in the certificate of
    whoever brings the blocks. authority: certificate of the CA that all of them have theirs from.
    """

    id: Name
    peer: Peer
    saes: dict[Name, Name]
    link: Name
    store: str
    certificate: str
    key: str
    authority: str
    host: str = "127.0.0.1"
    port: Port = 0
    limits: Limits = Limits()

    def path(self, name: str, beside: Path) -> Path:
        """A file that the configuration `beside` names."""
        return beside.parent / name


def read_site(path: Path) -> Site:
    """Raises InputError."""
    try:
        raw = path.read_bytes()
    except OSError as problem:
        raise InputError(str(path), "a KME's configuration", why_not_opened(problem)) from problem
    try:
        return checked(msgspec.json.decode(raw, type=Site))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise InputError(str(path), "a KME's configuration", str(problem)) from problem


def checked(site: Site) -> Site:
    """The same, if its values are of their types and fit together. Raises InputError."""
    try:
        msgspec.convert(msgspec.to_builtins(site), Site)
    except msgspec.ValidationError as problem:
        raise InputError(site.id, "a KME's configuration", str(problem)) from problem
    limits = site.limits
    if not limits.min_key_size <= limits.key_size <= limits.max_key_size:
        found = f"{limits.min_key_size}, {limits.key_size}, {limits.max_key_size}"
        raise InputError("limits", "min_key_size ≤ key_size ≤ max_key_size", found)
    if limits.max_key_per_request * limits.max_key_size > 8 * MAX_REQUEST:
        found = f"{limits.max_key_per_request} × {limits.max_key_size} bits"
        raise InputError("limits", f"at most {MAX_REQUEST} bytes of key a request", found)
    if not re.fullmatch(r"https://[A-Za-z0-9.-]+:[0-9]{1,5}", site.peer.url):
        raise InputError("peer.url", "https://HOST:PORT", site.peer.url)
    names = [site.id, site.peer.id, site.link, *site.saes]
    if len(set(names)) != len(names):
        raise InputError("names", "a name of its own for each KME, SAE and the link", ", ".join(names))
    for sae, kme in site.saes.items():
        if kme not in (site.id, site.peer.id):
            raise InputError(f"saes.{sae}", f"{site.id} or {site.peer.id}", kme)
    return site


def trial_sites(kmes: tuple[str, str], saes: dict[str, str], link: str, ports: tuple[int, int]) -> list[Site]:
    """Both ends of a link on this machine, with the files of `certificates.make_trial_authority`. saes: each
    and its KME. Raises InputError.
    """
    return [
        checked(
            Site(
                id=name,
                peer=Peer(other, f"https://127.0.0.1:{other_port}"),
                saes=saes,
                link=link,
                store=f"{name}.sqlite",
                certificate=f"{name}.crt.pem",
                key=f"{name}.key.pem",
                authority="ca.crt.pem",
                port=port,
            )
        )
        for name, other, port, other_port in ((*kmes, *ports), (*kmes[::-1], *ports[::-1]))
    ]
