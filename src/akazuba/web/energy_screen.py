"""What the sun allows and why, for two days; and the mark by which the box knows that somebody uses it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from akazuba.energy.plot import Curve, plan_title, svg
from akazuba.energy.values import IN_USE
from akazuba.errors import AkazubaError, OutOfTimeError
from akazuba.web import access
from akazuba.web.pages import page

PLAN_S, KEPT_S = 60.0, 300.0
"""How long a plan may take, and for how long it is shown again."""
TOUCH_S = 20.0
"""How often, at most, the mark is set that keeps a box whose page is in use from being put to rest."""


def routes() -> list[BaseRoute]:
    return [Route("/energy", energy_page), Route("/energy/plan.svg", drawing)]


@dataclass(frozen=True)
class Planned:
    """said: what `akazuba energy plan --json` prints. svg: the same as curves, b"" where nothing is known."""

    said: dict[str, Any]
    svg: bytes
    at: float


@dataclass
class Plans:
    """The last one, made by one process at a time."""

    home: Path
    last: Planned | None = None
    making: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def newest(self) -> Planned:
        """Raises OutOfTimeError, AkazubaError."""
        async with self.making:
            if self.last is None or time.monotonic() - self.last.at > KEPT_S:
                self.last = await _made(self.home)
            return self.last


async def energy_page(request: Request) -> Response:
    """For whoever is signed in; it holds nothing of a patient."""
    await _somebody(request)
    try:
        plan, why = await _plans(request).newest(), ""
    except AkazubaError as problem:
        plan, why = None, str(problem)
    return await page(
        request, "energy.html", said=plan.said if plan else None, drawn=plan and plan.svg, why=why
    )


async def drawing(request: Request) -> Response:
    await _somebody(request)
    return Response((await _plans(request).newest()).svg, media_type="image/svg+xml")


async def _somebody(request: Request) -> None:
    if access.post_of(request).state == "open" and await access.signed_in(request) is None:
        raise access.SignInNeededError("nobody is signed in on this tablet")


def _plans(request: Request) -> Plans:
    state = request.app.state
    if getattr(state, "plans", None) is None:
        state.plans = Plans(access.post_of(request).settings.home)
    return state.plans  # type: ignore[no-any-return]


async def _made(home: Path) -> Planned:
    """By a process of its own: what it needs for the sun's course would stay in this one's memory."""
    command = (sys.executable, "-m", "akazuba", "energy", "plan", "--json")
    code, out, told = await _run(command, {**os.environ, "AKAZUBA_HOME": str(home)})
    if code:
        raise AkazubaError(
            "energy plan", "a plan", told.removeprefix("error: ").strip() or f"exit code {code}"
        )
    said = json.loads(out)
    return Planned(said, _drawn(said), time.monotonic())


def _drawn(said: dict[str, Any]) -> bytes:
    rows = said["half_hours"]
    if not rows:
        return b""
    curves = [
        Curve("battery, Wh", [row["wh"] for row in rows]),
        Curve("sun, Wh in half an hour", [row["panel_wh"] for row in rows]),
        Curve("load, Wh in half an hour", [row["load_wh"] for row in rows]),
    ]
    ticks = [(number / len(rows), f"{rows[number]['hour']:.0f} h") for number in range(0, len(rows), 12)]
    title = plan_title(said["by"], simulated=said["simulated"])
    return svg(title, "Wh", curves, ticks, ("floor", said["floor_wh"])).encode()


async def _run(command: tuple[str, ...], env: dict[str, str]) -> tuple[int, bytes, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=pipe, stderr=pipe)
    try:
        out, told = await asyncio.wait_for(process.communicate(), PLAN_S)
    except TimeoutError as problem:
        process.kill()
        await process.wait()
        raise OutOfTimeError("energy plan", f"a plan within {PLAN_S:g} s", "none") from problem
    return process.returncode or 0, out, told.decode(errors="replace")


def in_use(home: Path, clock: Callable[[], float] = time.monotonic) -> Callable[[Scope], None]:
    """Marks that somebody is served; a page that lies open and asks by itself is nobody."""
    last = [-TOUCH_S]

    def told(scope: Scope) -> None:
        path = scope["path"]
        by_itself = path == "/queue/rows" or path.startswith("/static/") or b"quiet" in scope["query_string"]
        if by_itself or clock() - last[0] < TOUCH_S:
            return
        last[0] = clock()
        with suppress(OSError):
            (home / IN_USE).touch()

    return told
