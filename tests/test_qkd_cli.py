"""`akazuba qkd`: from a new folder to a key at both SAEs, fed by a SIMULATED link."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from etsi014_checks import context, free_ports

from akazuba.cli.qkd import qkd
from akazuba.privacy.qkd.client import KmeClient, Line

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


def run(*arguments: str) -> Result:
    return CliRunner().invoke(qkd, list(arguments))


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    folder = tmp_path / "trial"
    made = run(
        "certificates", str(folder), "--kme", "kme-a", "--kme", "kme-b", "--sae", "s-1", "--sae", "s-2"
    )
    assert made.exit_code == 0, made.output
    assert "TRIAL ONLY" in made.output
    ports = dict(zip(("kme-a", "kme-b"), free_ports(), strict=True))
    for name, other in (("kme-a", "kme-b"), ("kme-b", "kme-a")):
        path = folder / f"{name}.json"
        site = json.loads(path.read_bytes())
        assert site["saes"] == {"s-1": "kme-a", "s-2": "kme-b"}
        site["port"], site["peer"]["url"] = ports[name], f"https://127.0.0.1:{ports[other]}"
        path.write_text(json.dumps(site))
    return folder


@pytest.fixture
def kmes(trial: Path) -> Iterator[dict[str, tuple[str, subprocess.Popen[str]]]]:
    """Each KME's address and process."""
    with ExitStack() as stack:
        started = {}
        for name in ("kme-a", "kme-b"):
            code = "from akazuba.cli.qkd import qkd; qkd()"
            command = [sys.executable, "-u", "-c", code, "kme", str(trial / f"{name}.json")]
            child = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(child.kill)
            started[name] = child
        urls = {}
        for name, child in started.items():
            assert child.stdout is not None
            said = child.stdout.readline()
            assert said.startswith(f"{name}: https://127.0.0.1:")
            urls[name] = (said.split()[1].removesuffix("/api/v1/keys/"), child)
        yield urls


def test_a_simulated_link_feeds_two_kmes_that_serve_their_saes(
    trial: Path, kmes: dict[str, tuple[str, subprocess.Popen[str]]]
) -> None:
    both = [str(trial / f"{name}.json") for name in kmes]
    fed = run("feed", *both, "--km", "2", "--pulses", "50000000", "--seed", "1")
    assert fed.exit_code == 0, fed.output
    assert "SIMULATED block 0" in fed.output
    for _, child in kmes.values():
        assert child.stdout is not None
        assert child.stdout.readline().startswith("SIMULATED: ")
    lines = [
        Line(kmes[kme][0], context(trial, sae), server=kme)
        for sae, kme in (("s-1", "kme-a"), ("s-2", "kme-b"))
    ]
    with closing(KmeClient(lines[0])) as master, closing(KmeClient(lines[1])) as slave:
        keys = master.enc_keys("s-2", 3)
        assert all(key.simulated for key in keys)
        assert slave.dec_keys("s-1", [key.key_id for key in keys]) == keys


def test_a_link_that_gives_no_key_feeds_nothing(trial: Path) -> None:
    both = [str(trial / f"{name}.json") for name in ("kme-a", "kme-b")]
    fed = run("feed", *both, "--km", "2", "--pulses", "1000", "--seed", "1")
    assert fed.exit_code == 2
    assert fed.output.startswith("error: SIMULATED link: ")


def test_what_cannot_be_used_is_said_in_a_sentence(trial: Path, tmp_path: Path) -> None:
    one_end = ("certificates", str(tmp_path / "new"), "--kme", "kme-a", "--sae", "s-1")
    there = ("certificates", str(trial), "--kme", "kme-a", "--kme", "kme-b", "--sae", "s-1")
    bad_name = ("certificates", str(tmp_path / "new"), "--kme", "a b", "--kme", "kme-b", "--sae", "s-1")
    elsewhere = ("certificates", str(tmp_path / "new"), "--kme", "a", "--kme", "b", "--sae", "s-1@c")
    for arguments in (one_end, there, bad_name, elsewhere, ("kme", str(tmp_path / "none.json"))):
        said = run(*arguments)
        assert said.exit_code == 2, said.output
        assert said.output.startswith("error: ")
        assert said.output.count("\n") == 1
    assert not (tmp_path / "new").exists()
