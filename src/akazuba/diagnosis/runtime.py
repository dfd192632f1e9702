"""onnxruntime, opened so that a small box can afford it.

One thread pool and one memory arena for all sessions of the process: three default sessions cost
70 ms and 136 MiB where shared ones cost 32 ms and 117 MiB (DESIGN, "The engine: what was measured").
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from akazuba.errors import ArtefactError

Array = npt.NDArray[np.generic]

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


class Graph:
    """One ONNX graph: arrays in by name, arrays out in order.

    shared: runs on the pool and arena of `share`; otherwise on its own (training, where onnxruntime's
    quantiser opens sessions too).
    """

    def __init__(self, path: Path, inputs: tuple[str, ...], *, shared: bool) -> None:
        self._path = path
        options = ort.SessionOptions()
        options.use_per_session_threads = not shared
        options.log_severity_level = 3
        options.enable_mem_pattern = False  # planning ahead costs 9 MiB here and saves no time
        if shared:
            options.add_session_config_entry("session.use_env_allocators", "1")
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own errors share no public base class
            raise ArtefactError(str(path), "a graph that onnxruntime can open", str(error)) from error
        found = tuple(item.name for item in self._session.get_inputs())
        if found != inputs:
            raise ArtefactError(str(path), f"inputs {', '.join(inputs)}", ", ".join(found))

    def __call__(self, **inputs: Array) -> list[npt.NDArray[np.float32]]:
        """Raises ArtefactError when the graph cannot be run on these inputs."""
        try:
            return cast("list[npt.NDArray[np.float32]]", self._session.run(None, inputs))
        except Exception as error:  # as above
            raise ArtefactError(self._path.name, "a graph that runs", str(error)) from error
