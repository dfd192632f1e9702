"""Flower's own programs as children: SuperLink and run at the coordinator, SuperNode at a gateway.

Nothing is fetched at run time, no telemetry is sent, and every line is TLS with enrolled node keys unless
`plain` is asked for (one machine, tests).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from akazuba.errors import InputError, OutOfTimeError

STARTS_WITHIN_S = 60.0
STOPS_WITHIN_S = 15.0
Value = str | int | float


@dataclass(frozen=True)
class Tls:
    """PEM files. certificate, key: the SuperLink's. authority: of whom they are. nodes: folder of the
    gateways' public node keys (*.pub, OpenSSH, P-384).
    """

    certificate: Path
    key: Path
    authority: Path
    nodes: Path


def environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "FLWR_HOME": str(home / "flower"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }


def write_app(folder: Path, config: Mapping[str, Value]) -> None:
    """The folder that `flwr run` sends: only a name for the apps of `flower`, which every node has
    installed.
    """
    package = folder / "akazuba_federation"
    package.mkdir(parents=True, exist_ok=True)
    source = "from akazuba.federation.flower import client, server\n\n__all__ = ['client', 'server']\n"
    (package / "__init__.py").write_text(source, encoding="utf-8")
    lines = [
        "[build-system]",
        'requires = ["hatchling"]',
        'build-backend = "hatchling.build"',
        "[project]",
        'name = "akazuba-federation"',
        'version = "1.0.0"',
        'description = "Akazuba federation"',
        'license = "Apache-2.0"',
        "dependencies = []",
        "[tool.flwr.app]",
        'publisher = "akazuba"',
        "[tool.flwr.app.components]",
        'serverapp = "akazuba_federation:server"',
        'clientapp = "akazuba_federation:client"',
        "[tool.flwr.app.config]",
        *(f"{name} = {json.dumps(value)}" for name, value in config.items()),
    ]
    (folder / "pyproject.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_connection(home: Path, address: str, tls: Tls | None) -> None:
    folder = home / "flower"
    folder.mkdir(parents=True, exist_ok=True)
    how = f"root-certificates = {json.dumps(str(tls.authority.resolve()))}" if tls else "insecure = true"
    lines = ["[superlink]", 'default = "own"', "[superlink.own]", f"address = {json.dumps(address)}", how]
    (folder / "config.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


@contextmanager
def superlink(home: Path, host: str, port: int, tls: Tls | None) -> Iterator[None]:
    """A running SuperLink. Raises OutOfTimeError when it does not start."""
    how = ["--insecure"]
    if tls is not None:
        how = ["--ssl-certfile", str(tls.certificate), "--ssl-keyfile", str(tls.key)]
        how += ["--ssl-ca-certfile", str(tls.authority), "--enable-supernode-auth"]
    wanted = ["flower-superlink", *how, "--host", host, "--port", str(port)]
    wanted += ["--database", str(home / "flower" / "superlink.sqlite3")]
    wanted.append("--disable-runtime-dependency-installation")
    with child(wanted, home, home / "flower" / "superlink.log") as process:
        _until_healthy(process, host, port, tls)
        yield


def _until_healthy(process: subprocess.Popen[bytes], host: str, port: int, tls: Tls | None) -> None:
    import ssl

    scheme = "https" if tls else "http"
    context = ssl.create_default_context(cafile=str(tls.authority)) if tls else None
    until = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with urlopen(f"{scheme}://{host}:{port}/health", timeout=2, context=context):  # noqa: S310 - ours
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise OutOfTimeError("SuperLink", f"an answer within {STARTS_WITHIN_S:g} s", "none (see superlink.log)")


@contextmanager
def child(command: Sequence[str], home: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A child that ends with us; what it says is in the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603 - our own arguments
            list(command),
            env=environment(home),
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOPS_WITHIN_S)
        with suppress(ProcessLookupError):  # Flower's own children outlive it
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def register(home: Path, keys: Path) -> list[str]:
    """Enrols the gateways' node keys at the SuperLink; a key that is enrolled already stays. Their files."""
    files = sorted(keys.glob("*.pub"))
    if not files:
        raise InputError(str(keys), "gateways' public node keys (*.pub)", "none")
    for path in files:
        flwr(home, ["supernode", "register", str(path), "own", "--name", path.stem])
    return [path.name for path in files]


def flwr(home: Path, arguments: Sequence[str]) -> tuple[int, str]:
    """Exit code and output of Flower's command."""
    done = subprocess.run(  # noqa: S603 - our own arguments
        ["flwr", *arguments],  # noqa: S607 - that of this environment
        env=environment(home), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def supernode(
    home: Path, superlink_at: str, authority: Path | None, key: Path | None, port: int
) -> list[str]:
    """The command of a gateway's SuperNode. port: of its own, on this machine. Raises InputError."""
    how = ["--insecure"]
    if authority is not None or key is not None:
        if authority is None or key is None:
            raise InputError("gateway", "--authority and --node-key together", "one of them")
        how = ["--root-certificates", str(authority), "--auth-supernode-private-key", str(key)]
    config = f"home={json.dumps(str(home))}"
    return [
        "flower-supernode",
        *how,
        "--superlink",
        superlink_at,
        "--port",
        str(port),
        "--node-config",
        config,
    ]
