"""BFV encryption in a process of its own (TenSEAL), with a cap on its memory and time.

A ciphertext made to break it ends that process and costs that ciphertext: TenSEAL's parser crashes on
altered bytes. So signatures are verified first, and only the child ever parses. BFV is exact; CKKS is not
used, because what it decrypts to leaks the key (Li and Micciancio 2021).

The child (`python -P -m akazuba.privacy.aggregation.bfv`) reads messages from its standard input, each a
length in 8 bytes and a list of byte strings, the first one what to do, and answers in kind.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from types import TracebackType
from typing import IO, TYPE_CHECKING

import msgspec
import numpy as np

from akazuba.errors import UntrustedError
from akazuba.privacy.aggregation.ring import MODULUS, Vector

if TYPE_CHECKING:
    import tenseal

DEGREE = 4096
"""Numbers of a ciphertext. With 109 bits of modulus: 128 bits of security (HE Standard 2018, table 1)."""

COEFFICIENT_BITS = (54, 55)
MEMORY_MIB = 1024
SECONDS = 120.0
CIPHERTEXT_BYTES = (50_000, 70_000)
CONTEXT_BYTES = (50_000, 400_000)
MOST_BYTES = 1 << 31

_ENDED = "one that ended or stopped the process that read it"


class Bfv:
    """A child process; use it as a context manager. Its memory of keys ends with it."""

    def __init__(self, memory_mib: int = MEMORY_MIB, seconds: float = SECONDS) -> None:
        self._limits = (memory_mib, seconds)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Bfv:
        self.__exit__(None, None, None)
        command = [sys.executable, "-P", "-m", "akazuba.privacy.aggregation.bfv", str(self._limits[0])]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    pipe.close()
        self._process = None

    def new_keys(self) -> tuple[bytes, bytes]:
        """The steward's secret context, and the public one that it gives away."""
        secret, public = self._ask(b"keys")
        return secret, public

    def open(self, context: bytes) -> None:
        """Takes a context, public or secret, for what follows. Raises UntrustedError."""
        if not CONTEXT_BYTES[0] <= len(context) <= CONTEXT_BYTES[1]:
            raise UntrustedError("context", "{} to {} bytes".format(*CONTEXT_BYTES), f"{len(context)} bytes")
        self._ask(b"open", context)

    def encrypted(self, values: Vector) -> list[bytes]:
        """Ciphertexts of DEGREE numbers modulo t each. values: (n · DEGREE,)."""
        return self._ask(b"encrypt", values.astype("<u4").tobytes())

    def add(self, ciphertexts: list[bytes]) -> None:
        """Adds one clinic's ciphertexts to the running sum: all of them or, with UntrustedError, none.

        After that error the process may have ended; `__enter__` starts a new one with an empty sum.
        """
        for ciphertext in ciphertexts:
            _sized(ciphertext)
        self._ask(b"add", *ciphertexts)

    def total(self) -> list[bytes]:
        """The running sum's ciphertexts."""
        return self._ask(b"total")

    def decrypted(self, ciphertexts: list[bytes]) -> Vector:
        """(n · DEGREE,) modulo t. Needs a secret context. Raises UntrustedError."""
        for ciphertext in ciphertexts:
            _sized(ciphertext)
        (values,) = self._ask(b"decrypt", *ciphertexts)
        return np.frombuffer(values, "<u4").astype(np.int64)

    def _ask(self, *message: bytes) -> list[bytes]:
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            raise UntrustedError("BFV process", "one that runs", "none")
        watch = threading.Timer(self._limits[1], self._process.kill)
        watch.start()
        try:
            _write(self._process.stdin, list(message))
            answer = _read(self._process.stdout)
        except OSError as problem:
            raise UntrustedError("ciphertext", "one that TenSEAL can read", _ENDED) from problem
        finally:
            watch.cancel()
        if answer is None:
            raise UntrustedError("ciphertext", "one that TenSEAL can read", _ENDED)
        if answer[0] != b"done":
            raise UntrustedError(
                "ciphertext", "one that TenSEAL can read", answer[1].decode(errors="replace")
            )
        return answer[1:]


def _sized(ciphertext: bytes) -> None:
    low, high = CIPHERTEXT_BYTES
    if not low <= len(ciphertext) <= high:
        raise UntrustedError("ciphertext", f"{low} to {high} bytes", f"{len(ciphertext)} bytes")


def _write(pipe: IO[bytes], message: list[bytes]) -> None:
    data = msgspec.msgpack.encode(message)
    pipe.write(len(data).to_bytes(8, "big") + data)
    pipe.flush()


def _read(pipe: IO[bytes]) -> list[bytes] | None:
    head = pipe.read(8)
    length = int.from_bytes(head, "big")
    if len(head) < 8 or length > MOST_BYTES:
        return None
    data = pipe.read(length)
    return msgspec.msgpack.decode(data, type=list[bytes]) if len(data) == length else None


class _Child:
    """What runs in the other process."""

    def __init__(self) -> None:
        import tenseal

        self._ts = tenseal
        self._context: tenseal.Context | None = None
        self._sum: list[tenseal.BFVVector] = []

    def answer(self, what: bytes, given: list[bytes]) -> list[bytes]:
        if what == b"keys":
            secret = self._ts.context(
                self._ts.SCHEME_TYPE.BFV,
                poly_modulus_degree=DEGREE,
                plain_modulus=MODULUS,
                coeff_mod_bit_sizes=list(COEFFICIENT_BITS),
            )
            public = secret.copy()
            public.make_context_public()
            return [
                context.serialize(
                    save_public_key=True, save_secret_key=own, save_galois_keys=False, save_relin_keys=False
                )
                for context, own in ((secret, True), (public, False))
            ]
        if what == b"open":
            self._context = self._ts.context_from(given[0])
            self._sum = []
            return []
        if what == b"encrypt":
            values = np.frombuffer(given[0], "<u4").reshape(-1, DEGREE)
            return [self._ts.bfv_vector(self._context, row.tolist()).serialize() for row in values]
        if what == b"total":
            return [vector.serialize() for vector in self._sum]
        vectors = [self._parsed(data) for data in given]
        if what == b"add":
            if self._sum and len(vectors) != len(self._sum):
                raise ValueError(f"{len(vectors)} ciphertexts where there were {len(self._sum)}")
            self._sum = [a + b for a, b in zip(self._sum, vectors, strict=True)] if self._sum else vectors
            return []
        if what == b"decrypt":
            plain = np.array([vector.decrypt() for vector in vectors], np.int64) % MODULUS
            return [plain.astype("<u4").tobytes()]
        raise ValueError(f"unknown message {what!r}")

    def _parsed(self, data: bytes) -> tenseal.BFVVector:
        vector = self._ts.bfv_vector_from(self._context, data)
        if vector.size() != DEGREE:
            raise ValueError(f"{vector.size()} numbers where {DEGREE} belong")
        return vector


def main() -> None:
    mib = int(sys.argv[1])
    child = _Child()
    resource.setrlimit(resource.RLIMIT_AS, (mib * 2**20, mib * 2**20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (message := _read(sys.stdin.buffer)) is not None:
        try:
            answer = [b"done", *child.answer(message[0], message[1:])]
        except Exception as problem:  # a foreign library's; the parent hears of it
            answer = [b"refused", f"{type(problem).__name__}: {problem}".encode()]
        _write(sys.stdout.buffer, answer)


if __name__ == "__main__":
    main()
