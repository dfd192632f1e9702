"""A recorded assessment, handed on to the observers that plugins bring: only of a patient who agreed to it.

An observer is somebody else's program and gets the whole assessment, so what is asked for is the consent to
hand a record out. As that consent's text promises, who got it stands in the log first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from akazuba.governance.audit_reads import record_reads
from akazuba.governance.consent import Purpose, may
from akazuba.records import Assessment
from akazuba.storage.store import Store

if TYPE_CHECKING:  # a box without plugins loads none of it
    from akazuba.plugins.observers import Observers

PURPOSE: Purpose = "export"


def hand_on(
    store: Store, observers: Observers, assessment: Assessment, patient: str, index: int, now_ms: int
) -> None:
    """index: of the assessment in the log. now_ms: since 1970. Without consent it counts as skipped."""
    agreed = may(store, patient, PURPOSE, now_ms).yes
    if agreed:
        why = f"handed on to what plugins bring: {', '.join(observers.plugins)}"
        record_reads(store, [patient], "plugins", why, f"assessment {index}")
    observers.see(assessment, agreed=agreed)
