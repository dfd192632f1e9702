"""`akazuba program …`: which programs of other systems may use this box's doors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from akazuba.cli.shared import errors_shown, show
from akazuba.cli.store_patients import AS, JSON, WHY

if TYPE_CHECKING:
    from akazuba.governance.programs import Registration


@click.group()
def program() -> None:
    """Programs of other systems: let in with rights and a public key, listed, revoked.

    While `akazuba serve` runs it holds the store: stop it first.

    Example: akazuba program list
    """


@program.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, help="A right, such as system/assess; any number."
)
@click.option(
    "--jwks",
    required=True,
    type=click.Path(path_type=Path),
    help="The program's public keys, a JSON Web Key Set (Ed25519 or P-384).",
)
@AS
def add(name: str, scopes: tuple[str, ...], jwks: Path, who: str | None) -> None:
    """Let a program in, or give a known one other rights and keys: its older tokens are then void.

    Example: akazuba program add openmrs --scope system/assess --scope 'system/*.read' --jwks openmrs.json
    """
    from akazuba.cli.store import acting, opened_store, read_file
    from akazuba.governance.programs import LARGEST_JWKS, register

    with errors_shown():
        keys = read_file(jwks, "a JSON Web Key Set", LARGEST_JWKS)
        with opened_store() as store:
            made = register(store, acting(store, who, "configure"), name, scopes, keys)
    show(f"{made.name} may use {', '.join(sorted(made.scopes))}")


@program.command("list")
@JSON
def list_programs(as_json: bool) -> None:
    """List every program with its rights, its keys and whether it is let in.

    Example: akazuba program list --json
    """
    from akazuba.cli.store import opened_store
    from akazuba.governance.programs import programs

    with errors_shown(), opened_store(read_only=True) as store:
        found = list(programs(store).values())
    if as_json:
        show(json.dumps([_facts(it) for it in found]))
    else:
        show("\n".join(_line(it) for it in found) or "no programs yet: `akazuba program add NAME …`")


@program.command()
@click.argument("name")
@WHY
@AS
def revoke(name: str, because: str, who: str | None) -> None:
    """Shut a program out for good.

    Example: akazuba program revoke openmrs --because "its key was lost"
    """
    from akazuba.cli.store import acting, opened_store
    from akazuba.governance.programs import revoke as shut_out

    with errors_shown(), opened_store() as store:
        shut_out(store, acting(store, who, "configure"), name, because)
    show(f"{name} is shut out")


@program.command()
@click.argument("name")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="New folder for NAME.pem, which stays with the program, and NAME.jwks.json, which comes here.",
)
def key(name: str, out: Path) -> None:
    """Make a pair of keys for a program (Ed25519), on the machine where the program runs.

    Example: akazuba program key openmrs --out openmrs-keys
    """
    from akazuba.cli.store import written
    from akazuba.client import new_key
    from akazuba.errors import InputError, why_not_opened
    from akazuba.governance.programs import checked_name

    with errors_shown():
        checked_name(name)
        secret, public = new_key()
        try:
            out.mkdir(mode=0o700, parents=True)
        except OSError as problem:
            raise InputError(str(out), "a new folder", why_not_opened(problem)) from problem
        written(out / f"{name}.pem", secret)
        written(out / f"{name}.jwks.json", public)
    show(f"{out / name}.pem is secret and stays with the program; {out / name}.jwks.json goes to the box")


def _facts(it: Registration) -> dict[str, object]:
    return {
        "name": it.name,
        "scopes": sorted(it.scopes),
        "keys": [{"kid": key.kid, "curve": key.crv} for key in it.keys],
        "by": it.by,
        "at_ms": it.at_ms,
        "index": it.index,
        "revoked": it.revoked,
    }


def _line(it: Registration) -> str:
    from akazuba.cli.store import moment

    state = "REVOKED" if it.revoked else "let in"
    keys = ", ".join(f"{key.crv} {key.kid[:12]}" for key in it.keys)
    return f"{it.name}  {state} by {it.by}, {moment(it.at_ms)}: {', '.join(sorted(it.scopes))}; {keys}"
