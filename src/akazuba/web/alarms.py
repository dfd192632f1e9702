"""Raises the queue's alarms: each is due once, is written down, and stays on every screen until answered."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from functools import partial

from akazuba.errors import InputError
from akazuba.governance.course import record_alarm
from akazuba.waiting.queue import Alarm
from akazuba.web.consulting import newest_of
from akazuba.web.post import Post, Records

EVERY_S = 1.0


async def raising(post: Post) -> None:
    """As long as the page is served. What fails now is due again a second later, whatever it was; the screens
    show an alarm from the time alone.
    """
    said = ""
    while True:
        try:
            await raise_due(post)
            said = ""
        except Exception as problem:
            if str(problem) != said:
                said = str(problem)
                sys.stderr.write(f"error: alarms: expected to write them down, found {said}\n")
        await asyncio.sleep(EVERY_S)


async def raise_due(post: Post) -> int:
    """How many were raised now, each as a piece of work of its own: tablets are answered in between."""
    due = await post.records(lambda kept: kept.queue.due_alarms())
    for alarm in due:
        await post.records(partial(_raised, alarm=alarm))
    return len(due)


def _raised(kept: Records, alarm: Alarm) -> None:
    index = newest_of(kept.store, alarm.case_id) if kept.store else None
    if kept.store and index is not None:
        with suppress(InputError):  # she was erased meanwhile; the queue still calls
            record_alarm(kept.store, index, alarm.step)
    kept.queue.alarmed(alarm)
