"""`akazuba users`: who may sign in on this box, as what, and which glass was broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from akazuba.cli.shared import errors_shown, show

if TYPE_CHECKING:
    from akazuba.governance.glass import Broken
    from akazuba.governance.roles import Role
    from akazuba.governance.users import User
    from akazuba.storage.store import Store

TERMINAL = "terminal"
"""What the log calls the place where these commands are typed."""

_ROLE = click.option("--role", required=True, help="nurse, clinician, supervisor, operator or auditor.")
_AS = click.option(
    "--as",
    "supervisor",
    metavar="SUPERVISOR",
    help="Who does it; asks for her PIN. Without it: the store's passphrase alone, which makes the first "
    "supervisor and resets the only one.",
)


@click.group()
def users() -> None:
    """Users, their roles and PINs; broken glass.

    Example: akazuba users list
    """


@users.command()
@click.argument("name")
@_ROLE
@_AS
def add(name: str, role: str, supervisor: str | None) -> None:
    """Add a user. She types her own PIN: 4 to 6 digits, 6 for a supervisor, operator or auditor.

    Example: akazuba users add "Chantal Uwimana" --role nurse --as "Jean Habimana"
    """
    from akazuba.governance.users import add as add_user

    user = _in_a_role(add_user, name, role, supervisor)
    show(f"{user.name} is a {user.role}, known to the log as {user.id}")


@users.command("list")
@click.option("--json", "as_json", is_flag=True)
def list_users(as_json: bool) -> None:
    """List every user with her role and whether she may sign in.

    Example: akazuba users list --json
    """
    from akazuba.cli.store import opened_store
    from akazuba.governance.users import users as users_of

    with errors_shown(), opened_store(read_only=True) as store:
        people = list(users_of(store).values())
    rows = [{"id": it.id, "name": it.name, "role": it.role, "state": _state(it)} for it in people]
    text = "\n".join(f"{row['role']:<12}{row['state']:<24}{row['name']} ({row['id']})" for row in rows)
    show(json.dumps(rows) if as_json else text or "no users yet: `akazuba users add NAME --role supervisor`")


@users.command("set-pin")
@click.argument("name")
def set_pin(name: str) -> None:
    """Change your own PIN. It asks for the one you have; your sessions end.

    Example: akazuba users set-pin "Chantal Uwimana"
    """
    from akazuba.cli.store import opened_store
    from akazuba.governance.pins import system_moment
    from akazuba.governance.signing_in import set_pin as set_own_pin

    with errors_shown(), opened_store() as store:
        current = _hidden(f"PIN of {name}")
        user = set_own_pin(store, name, current, _new_pin(name), TERMINAL, system_moment())
    show(f"{user.name} has a new PIN")


@users.command()
@click.argument("name")
@_ROLE
@_AS
def role(name: str, role: str, supervisor: str | None) -> None:
    """Give a user another role. She types a new PIN; her sessions end.

    Example: akazuba users role "Chantal Uwimana" --role supervisor --as "Jean Habimana"
    """
    from akazuba.governance.users import change_role

    user = _in_a_role(change_role, name, role, supervisor)
    show(f"{user.name} is a {user.role} now")


def _in_a_role(
    deed: Callable[[Store, str, str, Role, str], User], name: str, role: str, supervisor: str | None
) -> User:
    """Done by a supervisor, once the user has typed a new PIN."""
    from akazuba.cli.store import opened_store
    from akazuba.governance.roles import known_role

    with errors_shown():
        known = known_role(role)
        with opened_store() as store:
            return deed(store, _acting(store, supervisor), name, known, _new_pin(name))


@users.command()
@click.argument("name")
@click.option("--because", required=True, help="The reason, for the log.")
@_AS
def disable(name: str, because: str, supervisor: str | None) -> None:
    """Disable a user for good. Her sessions end; her deeds stay in the log.

    Example: akazuba users disable "Chantal Uwimana" --because "left the post" --as "Jean Habimana"
    """
    from akazuba.cli.store import opened_store
    from akazuba.governance.users import disable as disable_user

    with errors_shown(), opened_store() as store:
        user = disable_user(store, _acting(store, supervisor), name, because)
    show(f"{user.name} may not sign in any more")


@users.command()
@click.argument("name")
@click.option("--new-pin", is_flag=True, help="The PIN is lost: she types a new one.")
@_AS
def reset(name: str, new_pin: bool, supervisor: str | None) -> None:
    """Unlock a user after too many wrong PINs.

    Example: akazuba users reset "Chantal Uwimana" --new-pin --as "Jean Habimana"
    """
    from akazuba.cli.store import opened_store
    from akazuba.governance.users import reset as reset_user

    with errors_shown(), opened_store() as store:
        by = _acting(store, supervisor)
        user = reset_user(store, by, name, _new_pin(name) if new_pin else None)
    show(f"{user.name} may try again")


@users.command()
@click.option("--as", "supervisor", metavar="SUPERVISOR", required=True, help="Who looks; asks for her PIN.")
@click.option("--seen", type=click.IntRange(0), metavar="INDEX", help="Acknowledge this one.")
@click.option("--note", default="", help="With --seen: what came of it.")
@click.option("--json", "as_json", is_flag=True)
def glass(supervisor: str, seen: int | None, note: str, as_json: bool) -> None:
    """Show every broken glass that no supervisor has acknowledged, or acknowledge one.

    Example: akazuba users glass --as "Jean Habimana" --seen 812 --note "talked to her, was right"
    """
    from akazuba.cli.store import opened_store
    from akazuba.governance.glass import acknowledge, shown_break_glass

    with errors_shown(), opened_store() as store:
        by = _acting(store, supervisor)
        if seen is not None:
            acknowledge(store, by, seen, note)
        waiting = shown_break_glass(store, by)
    if as_json:
        show(json.dumps([asdict(broken) for broken in waiting]))
    else:
        show("\n".join(_line(broken) for broken in waiting) or "no broken glass waits for a supervisor")


def _acting(store: Store, supervisor: str | None) -> str:
    """Who acts, as the log names her, after her PIN."""
    from akazuba.cli.store import signed_in
    from akazuba.governance.users import PASSPHRASE

    return PASSPHRASE if supervisor is None else signed_in(store, supervisor)


def _new_pin(name: str) -> str:
    return str(
        click.prompt(
            f"new PIN of {name}", hide_input=True, confirmation_prompt="the same once more", err=True
        )
    )


def _hidden(what: str) -> str:
    return str(click.prompt(what, hide_input=True, err=True))


def _state(user: User) -> str:
    if user.disabled:
        return "disabled"
    return "locked" if user.locked else f"{user.wrong} wrong PINs" if user.wrong else "may sign in"


def _line(broken: Broken) -> str:
    from akazuba.report import one_line

    at = datetime.fromtimestamp(broken.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    reason = "erased with the patient" if broken.reason is None else one_line(broken.reason)
    return f"{broken.index}  {at}  {broken.by}  {broken.action}  patient {broken.patient}: {reason}"
