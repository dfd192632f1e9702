"""`akazuba serve` as a process: it answers, refuses what is unsafe, and comes back after a power cut."""

import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.enable_socket
LONG_S = 60


@contextmanager
def served(home: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and the address that it printed."""
    command = [sys.executable, "-m", "akazuba", "serve", "--port", "0", *arguments]
    env = {**os.environ, "AKAZUBA_HOME": str(home), "AKAZUBA_LLM": "off", "AKAZUBA_ENGINE": "tiny"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def asked(url: str, path: str, authority: Path | None = None) -> tuple[int, str]:
    tls = ssl.create_default_context(cafile=authority) if url.startswith("https") else None
    url = url.replace("127.0.0.1", "localhost") if tls else url
    for _ in range(LONG_S * 10):
        try:
            with urllib.request.urlopen(url.rstrip("/") + path, timeout=10, context=tls) as answer:  # noqa: S310 - what it printed itself
                return answer.status, answer.read().decode()
        except urllib.error.URLError as problem:
            if isinstance(problem.reason, ssl.SSLError):
                raise problem.reason from problem
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


def test_a_box_without_a_store_serves_and_says_that_nothing_is_kept(terminology_home: Path) -> None:
    with served(terminology_home) as (process, url):
        status, said = asked(url, "/")
        assert status == 200
        assert "NOTHING IS KEPT" in said
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG_S) in (0, -signal.SIGTERM)


def test_by_https_a_tablet_needs_the_clinics_authority(terminology_home: Path) -> None:
    with served(terminology_home, "--tls", "--host", "127.0.0.1") as (process, url):
        assert url.startswith("https://")
        assert process.stdout is not None
        authority = Path(process.stdout.readline().strip().split(": ")[1])
        assert asked(url, "/", authority)[0] == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            asked(url, "/")


def test_it_comes_back_after_the_power_was_cut(terminology_home: Path) -> None:
    with served(terminology_home) as (process, url):
        assert asked(url, "/")[0] == 200
        process.send_signal(signal.SIGKILL)
        process.wait(LONG_S)
    with served(terminology_home) as (_, url):
        assert asked(url, "/")[0] == 200


def test_other_machines_are_served_by_https_only(run) -> None:
    found = run("serve", "--host", "192.168.7.2")
    assert found.exit_code == 2
    assert "error: --host: expected --tls to serve other machines" in found.stderr


def test_a_port_that_is_taken_is_named(run, terminology_home: Path) -> None:
    with served(terminology_home) as (_, url):
        found = run("serve", "--port", str(urlsplit(url).port))
    assert found.exit_code == 2
    assert "error: --port: expected a free port" in found.stderr
