"""The device's secret inside its TPM 2.0, and a counter there that nobody turns back, by tpm2-tools.

Sealed under the owner hierarchy's storage key (an object that this TPM alone unseals, with no password and no
PCRs: an update of the system must not lock a clinic out). So a stolen disk lacks the secret, which the file
that takes its place elsewhere does not do. Whoever is root on the running box unseals it, and a discrete
TPM's bus can be listened to. A TPM that is cleared or broken takes the store with it: keep copies.

Which TPM: that of TPM2TOOLS_TCTI, tpm2-tools' own variable ("none" for none), else /dev/tpmrm0.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import msgspec
from msgspec import Meta

from akazuba.durable import write_durably
from akazuba.errors import ArtefactError, InputError, why_not_opened

FILE = "device.tpm.json"
DEVICE = Path("/dev/tpmrm0")
PATIENCE_S = 60.0
FIRST_INDEX, LAST_INDEX = 0x0180_A5A0, 0x0180_A5FF
"""Of the owner's NV indices (TCG, Registry of Reserved Handles: 0x01800000 to 0x01BFFFFF)."""

_NEEDED = (
    *("createprimary", "create", "load", "unseal", "flushcontext"),
    *("nvdefine", "nvincrement", "nvread", "nvreadpublic"),
)
_SEALED = "fixedtpm|fixedparent|noda|userwithauth"
_COUNTER = "ownerread|ownerwrite|authread|authwrite|nt=counter"


class Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of the secret lies on the disk: the TPM's two blobs. id: of this device, made with it. index: of
    its counter in the TPM's NV memory.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    id: Annotated[str, Meta(pattern="^[0-9a-f]{8}$")]
    public: Annotated[bytes, Meta(max_length=4096)]
    private: Annotated[bytes, Meta(max_length=4096)]
    index: Annotated[int, Meta(ge=FIRST_INDEX, le=LAST_INDEX)]


@dataclass(frozen=True)
class Tpm:
    """tcti: how tpm2-tools reach it."""

    tcti: str

    def run(self, tool: str, *arguments: str, given: bytes = b"") -> bytes:
        """What the tool prints. Raises ArtefactError."""
        command = [f"tpm2_{tool}", *arguments]
        environment = {**os.environ, "TPM2TOOLS_TCTI": self.tcti, "LC_ALL": "C"}
        try:
            done = subprocess.run(  # noqa: S603 - tpm2-tools, with arguments of ours
                command, input=given, capture_output=True, check=False, timeout=PATIENCE_S, env=environment
            )
        except OSError as problem:
            raise ArtefactError("TPM", "tpm2-tools", why_not_opened(problem)) from problem
        except subprocess.TimeoutExpired as problem:
            raise ArtefactError("TPM", f"an answer within {PATIENCE_S:g} s", "none") from problem
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise ArtefactError("TPM", f"{tool} done", said[-1] if said else f"exit code {done.returncode}")
        return done.stdout

    def forget(self) -> None:
        """Objects that are loaded: with the system's resource manager there are none between two tools."""
        self.run("flushcontext", "-t")


def present(environ: Mapping[str, str] = os.environ) -> Tpm | None:
    """None where there is no TPM, no tpm2-tools, or no right to use it."""
    tcti = environ.get("TPM2TOOLS_TCTI", "")
    if not tcti and os.access(DEVICE, os.R_OK | os.W_OK):
        tcti = f"device:{DEVICE}"
    if tcti in ("", "none") or not all(shutil.which(f"tpm2_{tool}") for tool in _NEEDED):
        return None
    return Tpm(tcti)


def seal(tpm: Tpm, home: Path, secret: bytes, random: Callable[[int], bytes]) -> None:
    """Makes `device.tpm.json`; afterwards only this TPM gives the secret. Raises ArtefactError."""
    with TemporaryDirectory() as folder:
        primary = _primary(tpm, folder)
        public, private = f"{folder}/public", f"{folder}/private"
        tpm.run(
            *("create", "-Q", "-C", primary, "-g", "sha256", "-a", _SEALED, "-i", "-"),
            *("-u", public, "-r", private),
            given=secret,
        )
        tpm.forget()
        blobs = Path(public).read_bytes(), Path(private).read_bytes()
    made = Sealed(1, random(4).hex(), *blobs, _new_counter(tpm))
    if _unsealed(tpm, made) != secret:
        raise ArtefactError("TPM", "the secret that was sealed", "another one")
    write_durably(home / FILE, msgspec.json.encode(made))


def sealed(home: Path) -> Sealed | None:
    """None for a device whose secret is a file. Raises ArtefactError."""
    path = home / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Sealed)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as problem:
        raise ArtefactError(str(path), "a secret that a TPM sealed", why_not_opened(problem)) from problem


def unseal(held: Sealed) -> bytes:
    """Raises ArtefactError where the TPM is another one, was cleared, or cannot be reached."""
    return _unsealed(_reached(), held)


def count(held: Sealed) -> int:
    """Where the counter stands. Raises ArtefactError."""
    return _count(_reached(), held.index)


def advance(held: Sealed) -> int:
    """One further; it cannot go back. Raises ArtefactError."""
    tpm = _reached()
    tpm.run("nvincrement", "-Q", "-C", "o", hex(held.index))
    return _count(tpm, held.index)


def _reached() -> Tpm:
    tpm = present()
    if tpm is None:
        raise ArtefactError("TPM", "that of this device, with tpm2-tools and the right to use it", "none")
    return tpm


def _primary(tpm: Tpm, folder: str) -> str:
    """The storage key, the same each time: the TPM derives it from its own seed."""
    primary = f"{folder}/primary"
    tpm.run("createprimary", "-Q", "-C", "o", "-g", "sha256", "-G", "ecc", "-c", primary)
    tpm.forget()
    return primary


def _unsealed(tpm: Tpm, held: Sealed) -> bytes:
    with TemporaryDirectory() as folder:
        primary, loaded = _primary(tpm, folder), f"{folder}/loaded"
        public, private = Path(folder) / "public", Path(folder) / "private"
        public.write_bytes(held.public)
        private.write_bytes(held.private)
        tpm.run("load", "-Q", "-C", primary, "-u", str(public), "-r", str(private), "-c", loaded)
        tpm.forget()
        try:
            return tpm.run("unseal", "-c", loaded)
        finally:
            tpm.forget()


def _new_counter(tpm: Tpm) -> int:
    """Its index; it begins above whatever this TPM's counters ever reached (TPM 2.0, part 1, 37.2.4)."""
    taken = ""
    for index in range(FIRST_INDEX, LAST_INDEX + 1):
        try:
            tpm.run("nvdefine", "-Q", "-C", "o", "-s", "8", "-a", _COUNTER, hex(index))
        except ArtefactError as problem:
            taken = problem.found
            if _defined(tpm, index):
                continue
            raise
        tpm.run("nvincrement", "-Q", "-C", "o", hex(index))  # before the first there is nothing to read
        return index
    raise InputError("TPM", f"room for a counter from {FIRST_INDEX:#x} to {LAST_INDEX:#x}", taken)


def _defined(tpm: Tpm, index: int) -> bool:
    try:
        tpm.run("nvreadpublic", hex(index))
    except ArtefactError:
        return False
    return True


def _count(tpm: Tpm, index: int) -> int:
    value = tpm.run("nvread", "-C", "o", "-s", "8", hex(index))
    if len(value) != 8:
        raise ArtefactError("TPM", "a counter of 8 bytes", f"{len(value)} bytes")
    return int.from_bytes(value, "big")
