"""The clock that nobody can set: seconds since the boot, and which boot it was."""

from __future__ import annotations

import time
from pathlib import Path


def since_boot() -> tuple[float, str]:
    """Seconds since the boot, sleep included, and the boot's name ("unknown" where the system has none)."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    name = boot.read_text(encoding="ascii").strip() if boot.exists() else "unknown"
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)), name
