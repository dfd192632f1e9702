"""Raises the queue's alarms: each is due once, is written down, and stays on every screen until answered."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from akazuba.errors import AkazubaError
from akazuba.governance.course import record_alarm
from akazuba.web.consulting import newest_of
from akazuba.web.post import Post, Records

EVERY_S = 1.0


async def raising(post: Post) -> None:
    """As long as the page is served."""
    while True:
        with suppress(AkazubaError):  # a busy file: the alarm is still due a second later
            await post.records(raise_due)
        await asyncio.sleep(EVERY_S)


def raise_due(kept: Records) -> int:
    """How many were raised now. The screens show an alarm from the queue; the log says when it was raised."""
    due = kept.queue.due_alarms()
    for alarm in due:
        index = newest_of(kept.store, alarm.case_id) if kept.store else None
        if kept.store and index is not None:
            record_alarm(kept.store, index, alarm.step)
        kept.queue.alarmed(alarm)
    return len(due)
