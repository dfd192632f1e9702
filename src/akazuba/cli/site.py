"""`akazuba site`: who vouches for this box: releases, configurations, notices, and who was on duty.

Signed by `akazuba site sign …`, where a party keeps its keys; taken into the box's log here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from akazuba.cli.incident import DEPLOYER, DEVELOPER, believed
from akazuba.cli.shared import errors_shown, show
from akazuba.cli.site_signing import give_key, read_document, sign
from akazuba.cli.store_patients import AS, JSON
from akazuba.errors import InputError

if TYPE_CHECKING:
    from akazuba.governance.responsibility import Configuration, Held, Keys, Kind, Release
    from akazuba.governance.roles import Action
    from akazuba.settings import Settings
    from akazuba.storage.store import Store

Party = Literal["developer", "deployer"]
FILES: Mapping[Party, str] = {"developer": DEVELOPER, "deployer": DEPLOYER}
SIGNS: Mapping[Kind, Party] = {
    "release": "developer",
    "notice": "developer",
    "configuration": "deployer",
}
MAY: Mapping[Kind, Action] = {"release": "operate", "notice": "operate", "configuration": "configure"}
ROSTER_MOST_BYTES = 4_000_000


@click.group()
def site() -> None:
    """The place: what its developer and its organisation signed, and who was on duty.

    Example: akazuba site show
    """


site.add_command(sign)
site.add_command(give_key)


@site.command()
@click.argument("party", type=click.Choice(list(FILES)))
@click.argument("file", type=click.Path(path_type=Path))
@AS
def believe(party: Party, file: Path, who: str | None) -> None:
    """Believe the signatures of PARTY's key in FILE, and of no other. Compare its fingerprint first.

    Example: akazuba site believe developer /media/usb/developer.key.json --as "Jean Habimana"
    """
    from akazuba.cli.store import acting, opened_store, read_file, written
    from akazuba.governance.audit_anchors import KEY_MOST_BYTES, key_file, read_key
    from akazuba.settings import from_environ
    from akazuba.storage.store import Entry

    with errors_shown():
        verifier = read_key(read_file(file, "a key file", KEY_MOST_BYTES), str(file))
        with opened_store() as opened:
            by = acting(opened, who, "configure")
            said = {"party": party, "name": verifier.name, "key": verifier.public.key_id}
            opened.add(Entry("believed", by, json.dumps(said).encode()))
            written(from_environ().home / FILES[party], key_file(verifier))
    show(f"{party}: {verifier.name}, fingerprint {verifier.public.key_id}")


@site.command()
@click.argument("kind", type=click.Choice(list(SIGNS)))
@click.argument("file", type=click.Path(path_type=Path))
@AS
@JSON
def adopt(kind: Kind, file: Path, who: str | None, as_json: bool) -> None:
    """Take a signed release, configuration or notice into the log: what is assessed from now on names it.

    A configuration has to count now: valid at this time, for the newest release, within its bounds.

    Example: akazuba site adopt release /media/usb/akazuba-1.0.release.json --as "Eric Nshuti"
    """
    from akazuba.cli.store import acting, opened_store, read_file
    from akazuba.governance.responsibility import MOST_BYTES, adopt as take_in
    from akazuba.settings import from_environ

    with errors_shown():
        settings = from_environ()
        keys = _keys(settings, SIGNS[kind])
        data = read_file(file, f"a signed {kind}", MOST_BYTES)
        remarks = _remarks(kind, data, keys, settings)
        with opened_store() as opened:
            by = acting(opened, who, MAY[kind])
            _adoptable(opened, kind, data, settings)
            index = take_in(opened, by, kind, data, keys).index
    digest = sha256(data).hexdigest()
    facts = {"entry": index, "kind": kind, "sha256": digest, "remarks": remarks}
    for remark in [] if as_json else remarks:
        click.echo(f"remark: {remark}", err=True)
    show(json.dumps(facts) if as_json else f"{kind} {digest} is adopted as entry {index}")


@site.command()
@click.argument("file", type=click.Path(path_type=Path))
@AS
@JSON
def roster(file: Path, who: str | None, as_json: bool) -> None:
    """Record who was on duty: CSV with user, role, begins, ends; times with their offset. All or nothing.

    As it was, not as it was planned: a shift that is not over is refused.

    Example: akazuba site roster week-48.csv --as "Jean Habimana"
    """
    from akazuba.cli.store import acting, now_s, opened_store, read_file
    from akazuba.governance.course import record_roster
    from akazuba.governance.drafts import roster_of
    from akazuba.governance.users import id_of, users as users_of
    from akazuba.report import one_line

    with errors_shown():
        data = read_file(file, "a roster in UTF-8", ROSTER_MOST_BYTES)
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as problem:
            raise InputError(str(file), "a roster in UTF-8", str(problem)) from problem
        with opened_store() as opened:
            by = acting(opened, who, "configure")
            people = users_of(opened)

            def known(name: str) -> tuple[str, str]:
                user = people.get(id_of(name))
                return (user.id, user.role) if user else (id_of(name), "")

            duties = roster_of(text, known, now_s())
            recorded = record_roster(opened, by, duties)
    strangers = sorted({duty.user for duty in duties} - people.keys())
    if strangers and not as_json:
        click.echo(one_line(f"remark: no users of this box: {', '.join(strangers)}"), err=True)
    facts = {"entries": [entry.index for entry in recorded], "no_users": strangers}
    show(json.dumps(facts) if as_json else f"{len(recorded)} shifts are recorded")


@site.command("show")
@click.option("--installed", is_flag=True, help="Compare what is installed with the release: some seconds.")
@JSON
def show_site(installed: bool, as_json: bool) -> None:
    """Show what this box runs under: release, configuration, notices, whose signatures count.

    Example: akazuba site show --installed
    """
    from akazuba.cli.shared import as_text
    from akazuba.cli.store import now_s, opened_store
    from akazuba.report import harmless
    from akazuba.settings import from_environ

    with errors_shown():
        settings = from_environ()
        with opened_store(read_only=True) as opened:
            facts = _facts(opened, settings, now_s(), installed=installed)
    if as_json:
        show(json.dumps(facts))
    else:
        words = {key: _numbered(value) for key, value in facts.items()}
        show("\n".join(harmless(line) for line in as_text(words).split("\n")))


# --- what is adopted -----------------------------------------------------------------------------------


def _keys(settings: Settings, party: Party) -> Keys:
    keys = getattr(believed(settings.home), party)
    if keys is None:
        name = settings.home / FILES[party]
        raise InputError(
            f"the {party}'s key", f"{name}: `akazuba site believe {party} FILE` puts it there", "none"
        )
    return keys  # type: ignore[no-any-return]


def _adoptable(store: Store, kind: Kind, data: bytes, settings: Settings) -> None:
    """Raises InputError for what stands there already, and for a configuration that does not count now."""
    from akazuba.cli.store import now_s
    from akazuba.governance.drafts import sound
    from akazuba.governance.responsibility import Configuration, check_configuration

    before = [entry for entry in store.entries(kind=kind) if entry.body is not None]
    same = [entry.index for entry in (before if kind == "notice" else before[-1:]) if entry.body == data]
    if same:
        raise InputError(kind, "one that the log does not hold already", f"entry {same[0]}")
    if kind == "configuration":
        releases = _releases(store, settings)
        if not releases:
            raise InputError("configuration", "a release that was adopted before", "none")
        keys = _keys(settings, "deployer")
        said = read_document(data, "configuration", Configuration, keys)
        sound(check_configuration(releases[-1], said, now_s()))


def _releases(store: Store, settings: Settings) -> list[Held[Release]]:
    from akazuba.governance.responsibility import Release, held_in

    return held_in(store, "release", Release, believed(settings.home).developer)


def _remarks(kind: Kind, data: bytes, keys: Keys, settings: Settings) -> list[str]:
    """What is not forbidden, and will be said of every assessment from now on. Raises InputError for a
    document that nobody signed who should.
    """
    from akazuba.governance.responsibility import Configuration, Notice, Release

    if kind == "notice":
        read_document(data, kind, Notice, keys)
        return []
    if kind == "configuration":
        return _other_overlays(read_document(data, kind, Configuration, keys).document, settings)
    files = read_document(data, kind, Release, keys).document.files
    return [f"installed otherwise than signed: {name}" for name in _other(files, settings)]


def _other(files: Mapping[str, str], settings: Settings) -> list[str]:
    from akazuba.box import open_box
    from akazuba.replay import installed_digests

    here = installed_digests(open_box(settings), settings)
    return sorted(name for name in here.keys() | files.keys() if here.get(name) != files.get(name))


def _other_overlays(signed: Configuration, settings: Settings) -> list[str]:
    from akazuba.cli.site_signing import digests_of

    here = digests_of(settings.overlays, "a file of local rules")
    names = sorted(here.keys() | signed.overlays.keys())
    return [
        f"local rules {name} run otherwise than signed"
        for name in names
        if here.get(name) != signed.overlays.get(name)
    ]


# --- what is shown -------------------------------------------------------------------------------------


def _facts(store: Store, settings: Settings, now: int, *, installed: bool) -> dict[str, object]:
    from akazuba.governance.responsibility import Configuration, Notice, check_configuration, held_in

    known = believed(settings.home)
    release = next(iter(_releases(store, settings)[-1:]), None)
    site_ = next(iter(held_in(store, "configuration", Configuration, known.deployer)[-1:]), None)
    facts: dict[str, object] = {"believed": _believed_facts(settings), "release": "none"}
    if release:
        facts["release"] = _held_facts(release, release.document.name)
    facts["configuration"] = "none"
    if site_:
        facts["configuration"] = {
            **_held_facts(site_, f"{site_.document.site}, {site_.document.organisation}"),
            "valid_until": _moment(site_.document.valid_until_s),
            "flaws": [f"{flaw.clause}: {flaw.what}" for flaw in check_configuration(release, site_, now)],
            "remarks": _other_overlays(site_.document, settings),
        }
    facts["notices"] = [
        {**_held_facts(it, it.document.what), "act_by": _moment(it.document.act_by_s)}
        for it in held_in(store, "notice", Notice, known.developer)
        if release is not None and it.document.release == release.sha256
    ]
    if installed and release:
        facts["installed_otherwise"] = _other(release.document.files, settings)
    return facts


def _believed_facts(settings: Settings) -> dict[str, str]:
    from akazuba.cli.store import read_file
    from akazuba.governance.audit_anchors import KEY_MOST_BYTES, read_key

    found = dict[str, str]()
    for party, name in FILES.items():
        path = settings.home / name
        found[party] = "nobody"
        if path.exists():
            key = read_key(read_file(path, "a key file", KEY_MOST_BYTES), str(path))
            found[party] = f"{key.name} {key.public.key_id}"
    return found


def _held_facts(held: Held[Any], name: str) -> dict[str, object]:
    from akazuba.cli.store import moment

    return {
        "name": name,
        "sha256": held.sha256,
        "entry": held.index,
        "adopted": moment(held.at_ms),
        "signature": (held.problem or "holds") if held.believed else "not checked: nobody said whose counts",
    }


def _numbered(value: object) -> object:
    """Lists as they are read in lines."""
    if isinstance(value, dict):
        return {key: _numbered(it) for key, it in value.items()}
    if isinstance(value, list):
        return {str(number): _numbered(it) for number, it in enumerate(value, 1)} or "none"
    return value


def _moment(at_s: int) -> str:
    from akazuba.cli.store import moment

    return moment(at_s * 1000)
