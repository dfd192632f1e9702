"""The device's secret in a TPM, and its counter in the checkpoints. The TPM is an emulator (swtpm)."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from akazuba.cli.store import store as store_command
from akazuba.errors import ArtefactError, InputError
from akazuba.governance.audit_anchors import keep, last_note, log_keys, verify_kept
from akazuba.governance.audit_counter import HOLDS_S, counted_further
from akazuba.governance.checkpoint import read_checkpoint, read_note
from akazuba.storage import tpm
from akazuba.storage.store import Entry, Store
from akazuba.storage.unlocking import DEVICE_FILE, Cost, StoreKey, change_passphrase, set_up, unlocked
from akazuba.waiting.queue import FILE as QUEUE, Queue

PASS, CHEAP = "a long passphrase", Cost(32, 1, 1)
NO_EMULATOR = not shutil.which("swtpm") or not shutil.which("tpm2_createprimary")
needs_tpm = pytest.mark.skipif(NO_EMULATOR, reason="takes swtpm and tpm2-tools (apt-get install)")


@contextmanager
def emulated(state: Path) -> Iterator[str]:
    """How tpm2-tools reach a TPM whose memory lies in a folder."""
    state.mkdir(exist_ok=True)
    socket = state / "tpm"
    command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}"]
    command += ["--server", f"type=unixio,path={socket}", "--ctrl", f"type=unixio,path={socket}.ctrl"]
    command += ["--flags", "not-need-init,startup-clear"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as emulator:
        try:
            until = time.monotonic() + 10
            while not Path(f"{socket}.ctrl").exists() and time.monotonic() < until:
                time.sleep(0.01)
            yield f"swtpm:path={socket}"
        finally:
            emulator.send_signal(signal.SIGTERM)


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    # a socket's path has to be short
    short = Path("/tmp") / f"tpm{os.getpid()}"  # noqa: S108 - removed below
    shutil.rmtree(short, ignore_errors=True)
    with emulated(short) as tcti:
        monkeypatch.setenv("TPM2TOOLS_TCTI", tcti)
        yield tcti
    shutil.rmtree(short, ignore_errors=True)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "box"


class Clock:
    """Seconds since 1970 that a test sets."""

    def __init__(self) -> None:
        self.s = 1_790_000_000

    def __call__(self) -> int:
        return self.s


def counter(store: Store, home: Path) -> int | None:
    held = tpm.sealed(home)
    assert held is not None
    return read_checkpoint(read_note(last_note(store)).text).stated(f"counter-{held.id}")


def opened(home: Path, clock: Clock, key: StoreKey) -> Store:
    return Store(home, key, lambda: clock.s * 1000)


# --- the secret ------------------------------------------------------------------------------------------


@needs_tpm
def test_the_secret_is_in_the_tpm_and_not_on_the_disk(home: Path, device: str) -> None:
    key = set_up(home, PASS, cost=CHEAP)
    assert not (home / DEVICE_FILE).exists()
    assert unlocked(home, PASS) == key
    held = tpm.sealed(home)
    assert held is not None
    secret = tpm.unseal(held)
    assert len(secret) == 32
    assert all(secret not in path.read_bytes() for path in home.iterdir())
    assert not any(secret.hex() in path.read_text(encoding="latin-1") for path in home.iterdir())
    change_passphrase(home, PASS, "another passphrase")
    assert unlocked(home, "another passphrase") == key


@needs_tpm
def test_a_stolen_disk_opens_at_no_other_tpm_and_without_none(
    home: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(home, PASS, cost=CHEAP)
    other = Path("/tmp") / f"tpn{os.getpid()}"  # noqa: S108 - removed below
    with emulated(other) as tcti:
        monkeypatch.setenv("TPM2TOOLS_TCTI", tcti)
        with pytest.raises(ArtefactError, match="TPM"):
            unlocked(home, PASS)
    shutil.rmtree(other)
    monkeypatch.setenv("TPM2TOOLS_TCTI", "none")
    with pytest.raises(ArtefactError, match="that of this device"):
        unlocked(home, PASS)
    monkeypatch.setenv("TPM2TOOLS_TCTI", device)
    with pytest.raises(InputError, match="the passphrase of this store"):
        unlocked(home, "a wrong passphrase")
    unlocked(home, PASS)


@needs_tpm
def test_the_queue_of_a_stolen_disk_opens_at_no_other_tpm(
    home: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(home, PASS, cost=CHEAP)
    with closing(Queue(home / QUEUE)) as queue:
        queue.arrive("case-of-chantal-4071")
        assert queue.protection == (True, "the key lies in this device's TPM")
    assert all(b"chantal" not in path.read_bytes() for path in home.iterdir())
    monkeypatch.setenv("TPM2TOOLS_TCTI", "none")
    with pytest.raises(ArtefactError, match="that of this device"):
        Queue(home / QUEUE)
    monkeypatch.setenv("TPM2TOOLS_TCTI", device)
    with closing(Queue(home / QUEUE)) as queue:
        assert [entry.case_id for entry in queue.waiting()] == ["case-of-chantal-4071"]


@needs_tpm
def test_setting_up_says_that_the_tpm_was_used(
    home: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AKAZUBA_HOME", str(home))
    monkeypatch.setenv("AKAZUBA_PASSPHRASE", PASS)
    said = CliRunner().invoke(store_command, ["init"])
    assert said.exit_code == 0, said.output
    assert "this device's secret lies in this device's TPM\n" in said.output
    assert json.loads(CliRunner().invoke(store_command, ["show", "--json"]).stdout)["tpm"] is True


@needs_tpm
def test_an_altered_blob_is_refused(home: Path, device: str) -> None:
    set_up(home, PASS, cost=CHEAP)
    whole = (home / tpm.FILE).read_bytes()
    for data in (b"", b"{}", whole[:-9], whole.replace(b'"private":"A', b'"private":"B')):
        (home / tpm.FILE).write_bytes(data)
        with pytest.raises(ArtefactError):
            unlocked(home, PASS)


def test_without_a_tpm_the_secret_is_a_file_as_before(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TPM2TOOLS_TCTI", "none")
    key = set_up(home, PASS, cost=CHEAP)
    assert (home / DEVICE_FILE).exists()
    assert tpm.sealed(home) is None
    assert unlocked(home, PASS) == key


@needs_tpm
def test_a_device_that_began_with_a_file_goes_on_with_it(
    home: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPM2TOOLS_TCTI", "none")
    key = set_up(home, PASS, cost=CHEAP)
    monkeypatch.setenv("TPM2TOOLS_TCTI", device)
    change_passphrase(home, PASS, "another passphrase")
    assert unlocked(home, "another passphrase") == key
    assert tpm.sealed(home) is None


def test_no_tools_or_no_right_is_no_tpm(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tpm.present({"TPM2TOOLS_TCTI": "none"}) is None
    monkeypatch.setenv("PATH", "/nowhere")
    assert tpm.present({"TPM2TOOLS_TCTI": "swtpm:path=/nowhere"}) is None


@needs_tpm
def test_a_tpm_that_does_not_answer_is_said_and_nothing_is_made(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPM2TOOLS_TCTI", "swtpm:path=/nowhere")
    with pytest.raises(ArtefactError, match="TPM: expected"):
        set_up(home, PASS, cost=CHEAP)
    assert not home.exists() or not list(home.iterdir())


# --- the counter -----------------------------------------------------------------------------------------


@needs_tpm
def test_checkpoints_carry_a_counter_that_goes_on_once_an_hour(home: Path, device: str) -> None:
    key, clock = set_up(home, PASS, cost=CHEAP), Clock()
    held = tpm.sealed(home)
    assert held is not None
    with closing(opened(home, clock, key)) as store:
        keep(home, store, clock)
        first = counter(store, home)
        assert first == tpm.count(held)
        for _ in range(3):
            store.add(Entry("note", "box", b""))
            keep(home, store, clock)
        assert counter(store, home) == first
        clock.s += HOLDS_S
        store.add(Entry("note", "box", b""))
        keep(home, store, clock)
        assert counter(store, home) == (first or 0) + 1 == tpm.count(held)
        assert verify_kept(home, store, log_keys(store)).sound


@needs_tpm
def test_a_disk_that_was_put_back_as_a_whole_shows_against_the_tpm(
    home: Path, device: str, tmp_path: Path
) -> None:
    key, clock = set_up(home, PASS, cost=CHEAP), Clock()
    with closing(opened(home, clock, key)) as store:
        keep(home, store, clock)
    shutil.copytree(home, tmp_path / "older")
    clock.s += HOLDS_S
    with closing(opened(home, clock, key)) as store:
        store.add(Entry("note", "box", b"acknowledged, and gone with the newer disk"))
        keep(home, store, clock)
    shutil.rmtree(home)
    shutil.copytree(tmp_path / "older", home)
    with closing(opened(home, clock, key)) as store:
        judged = verify_kept(home, store, log_keys(store))
        assert [str(it) for it in judged.problems if "rolled back: the TPM counted" in str(it)]
        store.add(Entry("note", "box", b"the box goes on"))
        keep(home, store, clock)
        assert len(list(store.entries(kind="log-put-back"))) == 1
        store.add(Entry("note", "box", b"and says it once"))
        keep(home, store, clock)
        assert len(list(store.entries(kind="log-put-back"))) == 1


@needs_tpm
def test_a_power_cut_before_the_counter_goes_on_is_no_alarm(
    home: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, clock = set_up(home, PASS, cost=CHEAP), Clock()
    with closing(opened(home, clock, key)) as store:
        with monkeypatch.context() as cut:
            cut.setattr(tpm, "advance", lambda _: 0)
            keep(home, store, clock)
        first = counter(store, home)
        assert counted_further(home, store) == ""
        store.add(Entry("note", "box", b""))
        keep(home, store, clock)
        assert counter(store, home) == first
        assert counted_further(home, store) == ""
        held = tpm.sealed(home)
        assert held is not None
        assert tpm.count(held) == first


@needs_tpm
def test_a_tpm_that_fails_stops_no_checkpoint_and_is_named(
    home: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, clock = set_up(home, PASS, cost=CHEAP), Clock()
    with closing(opened(home, clock, key)) as store:
        monkeypatch.setenv("TPM2TOOLS_TCTI", "none")
        assert keep(home, store, clock)
        assert counter(store, home) is None
        (problem,) = verify_kept(home, store, log_keys(store)).problems
        assert "the TPM's counter cannot be read" in str(problem)


@needs_tpm
def test_two_stores_of_one_device_count_apart(home: Path, device: str, tmp_path: Path) -> None:
    set_up(home, PASS, cost=CHEAP)
    set_up(tmp_path / "second", PASS, cost=CHEAP)
    one, two = tpm.sealed(home), tpm.sealed(tmp_path / "second")
    assert one is not None
    assert two is not None
    assert one.index != two.index
    before = tpm.count(two)
    assert tpm.advance(one) == tpm.count(one)
    assert tpm.count(two) == before
