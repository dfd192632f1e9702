"""Long looks into the records, beside the lane that records: on a view of their own that cannot write.

To verify a year's log takes seconds, in which nobody could be helped if the one thread of the records did it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

from akazuba.storage.store import Store
from akazuba.web.post import Lane, Post

Done = TypeVar("Done")
LOOKS, CHECKS = Lane("looks"), Lane("checks")
"""One thread for what a page waits for, one for what it does not."""


async def beside(post: Post, work: Callable[[Store], Done], lane: Lane = LOOKS) -> Done:
    """Raises LockedError when the store is locked now; what has begun ends, though somebody locks it."""
    store = await post.records(lambda kept: kept.opened())

    def looked() -> Done:
        with closing(store.view()) as view:
            return work(view)

    return await lane(looked)
