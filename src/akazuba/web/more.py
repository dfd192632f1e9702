"""Everything that the box has beside helping a patient, by what the user may do."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from akazuba.governance.roles import Action, Role, verdict
from akazuba.web import access
from akazuba.web.pages import page


@dataclass(frozen=True)
class Place:
    """needs: one of these rights; none: for everybody who is signed in. built: False where there is only
    a page that says so.
    """

    path: str
    icon: str
    title: str
    about: str
    needs: tuple[Action, ...] = ()


PLACES = (
    Place("/pictures", "▢", "Pictures that arrived", "not yet of a patient", ("record",)),
    Place("/glass", "⚠", "Broken glass", "look into each one", ("acknowledge-glass",)),
    Place("/staff", "≡", "Staff", "add, disable, change roles, reset PINs", ("manage-users",)),
    Place("/log", "✓", "Audit log", "is it whole, who did what", ("read-log",)),
    Place("/log/checkpoint", "↗", "Checkpoint", "carry it to a witness", ("read-log",)),
    Place("/me", "●", "My PIN and sessions", "change the PIN, end sessions elsewhere"),
    Place("/privacy", "◐", "Privacy", "what left this box"),
    Place("/federation", "⇄", "Learning together", "not built yet"),
    Place("/energy", "○", "Energy", "what the sun allows, and why"),
)
UNBUILT = {
    "/federation": ("Learning together", "This box takes part in no learning with other boxes."),
}


def routes() -> list[BaseRoute]:
    return [Route("/more", more_page), *(Route(path, unbuilt_page) for path in UNBUILT)]


async def more_page(request: Request) -> Response:
    session = await access.signed_in(request)
    places = places_for(session[1].role) if session else []
    return await page(request, "more.html", places=places)


def places_for(role: Role) -> list[Place]:
    """Where somebody of that role may go.

    >>> [place.path for place in places_for("auditor")][:2]
    ['/log', '/log/checkpoint']
    """
    return [
        place
        for place in PLACES
        if not place.needs or any(verdict(role, action).allowed for action in place.needs)
    ]


async def unbuilt_page(request: Request) -> Response:
    """Without figures: none were measured."""
    title, now = UNBUILT[request.url.path]
    return await page(request, "more_unbuilt.html", title=title, now=now)
