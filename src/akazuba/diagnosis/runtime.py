"""onnxruntime, opened so that a small box can afford it.

One thread pool and one memory arena for all sessions of the process: three default sessions cost
70 ms and 136 MiB where shared ones cost 32 ms and 117 MiB (DESIGN, "The engine: what was measured").
"""

from __future__ import annotations

import threading
import time
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import cast

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from akazuba.errors import ArtefactError, OutOfTimeError

Array = npt.NDArray[np.generic]

_QUIET = 4
"""onnxruntime's own messages stay away from stderr: whatever fails comes to the nurse as an error of ours."""

_pool: list[int] = []
"""Thread count of the process's pool, once there is one."""


def share(threads: int) -> int:
    """Sets up what all sessions of this process share, and returns the thread count that holds.

    The first call decides: onnxruntime can neither replace the pool nor keep a session out of it.
    """
    if _pool:
        return _pool[0]
    _pool.append(threads)
    ort.set_global_thread_pool_sizes(threads, 1)
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    arena = {
        "max_mem": 0,
        "arena_extend_strategy": 1,  # asks for what is needed, not for the next power of two
        "initial_chunk_size_bytes": 1 << 20,
        "max_dead_bytes_per_chunk": 1 << 20,
    }
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg(arena))
    return threads


class Stop:
    """Ends whatever graph is running when its time is up: a box whose processor is taken must say so.

        with Stop(10.0) as stop:
            graph(stop, picture=…)

    A graph that is stopped, or that is started too late, raises OutOfTimeError.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.options = ort.RunOptions()
        self.options.log_severity_level = _QUIET
        self._timer = threading.Timer(limit_s, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Stop:
        self._until = time.monotonic() + self.limit_s
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self.options.terminate = True

    @property
    def over(self) -> bool:
        return bool(self.options.terminate) or time.monotonic() > self._until


@cache
def has_int8_dot_products(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether onnxruntime's sums of 8-bit products are exact here without being asked for it, and fast.

    On x86 without AVX-512 VNNI they would overflow (onnxruntime, "Quantize ONNX Models"); with it the exact
    way costs up to two thirds more time. A processor that does not say what it has counts as without; ones
    with AVX-VNNI alone were never tried. Elsewhere than on x86 onnxruntime ignores what it is asked.
    """
    try:
        return "avx512_vnni" in cpuinfo.read_text(encoding="utf-8").split()
    except OSError:
        return False


class Graph:
    """One ONNX graph: arrays in by name, arrays out in order.

    shared: runs on the pool and arena of `share`; otherwise on its own (training, where onnxruntime's
    quantiser opens sessions too).
    """

    def __init__(self, path: Path, inputs: tuple[str, ...], *, shared: bool) -> None:
        self._path = path
        self.inputs = inputs
        options = ort.SessionOptions()
        options.use_per_session_threads = not (shared or _pool)
        options.log_severity_level = _QUIET
        options.enable_mem_pattern = False  # planning ahead costs 9 MiB here and saves no time
        if not has_int8_dot_products():
            options.add_session_config_entry("session.x64quantprecision", "1")
        if shared:
            options.add_session_config_entry("session.use_env_allocators", "1")
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own errors share no public base class
            raise ArtefactError(str(path), "a graph that onnxruntime can open", str(error)) from error
        found = tuple(item.name for item in self._session.get_inputs())
        if found != inputs:
            raise ArtefactError(str(path), f"inputs {', '.join(inputs)}", ", ".join(found))

    def __call__(self, stop: Stop | None = None, /, **inputs: Array) -> list[npt.NDArray[np.float32]]:
        """Raises ArtefactError when the graph cannot be run on these inputs, OutOfTimeError by `stop`."""
        try:
            options = stop.options if stop else None
            outputs = cast("list[npt.NDArray[np.float32]]", self._session.run(None, inputs, options))
        except Exception as error:  # as above
            if stop and stop.over:
                raise _too_late(stop) from error
            raise ArtefactError(self._path.name, "a graph that runs", str(error)) from error
        if stop and stop.over:
            raise _too_late(stop)
        return outputs


def _too_late(stop: Stop) -> OutOfTimeError:
    return OutOfTimeError(
        "reading the image", f"an answer within {stop.limit_s:g} s", "none (the box is busy)"
    )
