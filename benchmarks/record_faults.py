"""The box is unplugged, its disk fills up, fails and lies: is anything lost that was acknowledged?

    .venv/bin/python benchmarks/record_faults.py [--runs 1000] [--seed 1] [--only RUN] [--json] [--save]

Every run is a child process that records and says what was acknowledged; it always ends by SIGKILL. Faults of
the system are real: strace kills it at a chosen write or lets a sync fail (EIO), a full tmpfs (ENOSPC), a
limit on file size (a write cut short). What a disk does afterwards is MODELLED by editing the files between
two runs: a lying disk (the files as they were at an earlier acknowledgement), a torn tail, a bit flip, frames
of the log twice or in another order. A cut link is MODELLED too: what comes in arrives in part first, or an
acknowledgement goes astray and the same is asked for again. The clock is passed in. Run N of a seed is the
same run each time, but for what the system's own timing adds. A checkpoint (or a receipt, or a key's name) of
the last acknowledgement is kept outside, as a witness would; what a lying disk loses after the last one that
was kept outside, nobody can see.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path

from figures import options_of, tell

from akazuba.durable import write_durably
from akazuba.errors import AkazubaError, UntrustedError
from akazuba.governance.checkpoint import Checkpoint, Verifier, opened, signed
from akazuba.governance.responsibility import Release, adopt, believing, held_in, seal
from akazuba.governance.witness import Witness
from akazuba.merkle import Frontier
from akazuba.privacy.keys.identity import Identity, new_identity
from akazuba.privacy.keys.store import KeyStore
from akazuba.storage.person import Person
from akazuba.storage.rescue import salvage
from akazuba.storage.spool import MARK, Spool, merge
from akazuba.storage.store import Entry, Store
from akazuba.storage.unlocking import Cost, StoreKey, change_passphrase, set_up, unlocked

SYSTEM = ("kill -9", "disk full", "EIO on fsync", "short write", "clock", "link cut")
DISK = ("lying write", "torn tail", "bit flip", "duplicate", "reorder")
"""MODELLED. The disk loses or alters what it had acknowledged; it must show."""

TARGETS = ("record", "audit", "spool", "update", "rotation", "release")
NOW_MS, DAY_MS = 1_790_000_000_000, 86_400_000
STEPS, FRAME = 8, 24 + 4096
CHEAP = Cost(32, 1, 1)
IDENTITY = Identity(bytes(range(32)), bytes(range(32, 64)))
ORIGIN = "box.example"
DEVELOPER = Identity(bytes(range(64, 96)), bytes(range(96, 128)))
BELIEVED = believing(DEVELOPER.public)


@dataclass(frozen=True)
class Run:
    """lost: acknowledged and not found again. detected: by whom and how; "" for nobody. twice: entries that
    were merged more than once. saved: of the lost ones, by
    `salvage`. refused_bare: by an error of Python or SQLite, not in our words. tracebacks: of the child.
    """

    kind: str
    target: str
    acknowledged: int
    lost: int
    altered: bool
    detected: str
    twice: int = 0
    saved: int = 0
    refused: int = 0
    refused_bare: int = 0
    tracebacks: list[str] = field(default_factory=list)


@dataclass
class Box:
    """One run's folder, and where its time and chances come from."""

    home: Path
    chance: random.Random
    jumps: bool = False

    def now_ms(self) -> int:
        return NOW_MS + (self.chance.choice((-400, 0, 400)) * DAY_MS if self.jumps else 0)

    def key(self) -> StoreKey:
        return unlocked(self.home, "passphrase 0")

    def store(self) -> Store:
        return Store(self.home, self.key(), self.now_ms)

    def keys(self) -> KeyStore:
        return KeyStore(self.home / "keys.sqlite3", lambda: self.now_ms() // 1000)


@dataclass(frozen=True)
class Heard:
    """From a child: what it acknowledged, how many things it tried, how often it was refused, in our words
    and in others, and errors that nobody caught.
    """

    told: list[str]
    tried: int
    refused: int
    refused_bare: int
    errors: list[str]


Step = Callable[[int], str]
"""Does the i-th thing and returns what is kept outside of it."""


# --- what is done, and what must be found again ------------------------------------------------------


@contextmanager
def steps(box: Box, target: str) -> Iterator[tuple[Step, Step]]:
    """The step, and what comes of it when the link is cut: a part arrives, which must be refused, or the
    acknowledgement goes astray.
    """
    if target == "spool":
        spool = Spool(box.home)
        yield ((lambda i: spool.add(box.now_ms(), "case", "nurse", body(i))),) * 2
    elif target == "rotation":
        with closing(box.keys()) as keys:
            yield (lambda i: rotated(box, keys, i)), (lambda i: unanswered(keys, i))
    else:
        store = box.store()
        if target == "record":
            yield ((lambda i: recorded(store, store.add(Entry("case", "nurse", body(i), "p"))[0].index)),) * 2
        elif target == "audit":
            yield (lambda i: noted(box, store, i)), (lambda i: witnessed_in_part(box, i))
        elif target == "release":
            yield (lambda i: released(store, i)), (lambda i: released_in_part(box, store, i))
        else:
            yield ((lambda i: updated(box, store, i)),) * 2


def body(i: int) -> bytes:
    return random.Random(i).randbytes(200 + 700 * (i % 5)).hex().encode()


def recorded(store: Store, index: int) -> str:
    return f"{index} {sha256(store.entry(index).body or b'').hexdigest()} {store.size} {store.root.hex()}"


def noted(box: Box, store: Store, i: int) -> str:
    (one, _) = store.add(Entry("case", "nurse", body(i), "p"), Entry("read", "nurse", b"p"))
    note = signed(Checkpoint(ORIGIN, store.size, store.root, (f"time {box.now_ms()}",)), IDENTITY, ORIGIN)
    write_durably(box.home / "checkpoint", note.encode())
    return recorded(store, one.index)


def updated(box: Box, store: Store, i: int) -> str:
    write_durably(box.home / "site.json", body(i))
    return recorded(store, store.add(Entry("update", "deployer", sha256(body(i)).digest()))[0].index)


def released(store: Store, i: int) -> str:
    return recorded(store, adopt(store, "operator", "release", signed_release(i), BELIEVED).index)


def signed_release(i: int) -> bytes:
    files = {f"models/{n}": sha256(body(i + n)).hexdigest() for n in range(3)}
    return seal(DEVELOPER, "release", Release(1, f"release {i}", 0, files, {}, {}, {}, "0" * 64))


def released_in_part(box: Box, store: Store, i: int) -> str:
    whole = signed_release(i)
    adopt(store, "operator", "release", whole[: box.chance.randrange(len(whole))], BELIEVED)
    raise RuntimeError("a part of a release was taken for the whole")


def witnessed_in_part(box: Box, i: int) -> str:
    note = signed(Checkpoint(ORIGIN, i + 1, bytes([i]) * 32), IDENTITY, ORIGIN)
    seer = Witness(box.home / "seer", DEVELOPER, "seer", lambda: 1, lambda _: [IDENTITY.public])
    with closing(seer):
        seer.cosign(note[: box.chance.randrange(len(note))])
    raise RuntimeError("a part of a checkpoint was taken for the whole")


def unanswered(keys: KeyStore, i: int) -> str:
    """The next key waits for whoever enrols it; asked for again it is the same."""
    keys._random = random.Random(i + 1).randbytes
    return keys.next_identity().public.key_id


def rotated(box: Box, keys: KeyStore, i: int) -> str:
    change_passphrase(box.home, f"passphrase {i}", f"passphrase {i + 1}", box.chance.randbytes)
    keys._random = random.Random(i + 1).randbytes  # so that the check knows which key came when
    keys.next_identity()
    keys.rotate()
    return str(i + 1)


def identity(i: int) -> Identity:
    return new_identity(random.Random(i).randbytes)


def check(box: Box, target: str, told: Sequence[str], tried: int) -> tuple[int, str, int]:
    """How many acknowledged things are missing, who noticed ("" for nobody), and how many came twice."""
    try:
        if target == "spool":
            return check_spool(box, told)
        if target == "rotation":
            return check_rotation(box, told, tried)
        with closing(box.store()) as store:
            return (*check_log(box, store, told, target, tried), 0)
    except AkazubaError as problem:
        return len(told), f"box: {problem}", 0


def check_log(box: Box, store: Store, told: Sequence[str], target: str, tried: int) -> tuple[int, str]:
    noticed, log, found = "", Frontier(), 0
    if damaged := store.damaged():
        noticed = f"box: {damaged[0]}"
    for index, leaf in store.leaves():
        if index != log.size or leaf != store.node(0, index):
            noticed = noticed or f"box: entry {log.size} is not the one of the log"
        log, _ = log.appended(leaf)
    for line in told:
        index, digest, size, root = line.split()
        with suppress(AkazubaError):
            found += sha256(store.entry(int(index)).body or b"").hexdigest() == digest
        if log.size < int(size) or Frontier.of(int(size), store.node).root().hex() != root:
            noticed = noticed or f"anchor: {log.size} entries, not {size} under the root of the checkpoint"
    if not noticed and target == "audit":
        noticed = check_note(box, store, int(told[-1].split()[2]) if told else 0)
    if not noticed and target == "update":
        file = box.home / "site.json"
        digest = sha256(file.read_bytes()).digest() if file.exists() else b""
        named = [entry.body or b"" for entry in store.entries(kind="update")][-1:]
        begun = [sha256(body(i)).digest() for i in range(tried)]
        begun = begun[begun.index(named[0]) if named and named[0] in begun else 0 :]
        if digest not in [*(named or [b""]), *begun]:
            noticed = "box: the file is not the one that the log names"
    if not noticed and target == "release":
        noticed = check_releases(store, told)
    store.search("nobody")
    store.add(Entry("after", "nurse", b"the box goes on", "p"))
    return len(told) - found, noticed


def check_note(box: Box, store: Store, size: int) -> str:
    path = box.home / "checkpoint"
    if not path.exists():
        return "anchor: no checkpoint" if size else ""
    try:
        said, _ = opened(path.read_bytes(), [Verifier(ORIGIN, IDENTITY.public)])
    except UntrustedError as problem:
        return f"box: {problem}"
    if said.size > store.size or Frontier.of(said.size, store.node).root() != said.root:
        return f"box: a checkpoint of {said.size} entries that the log does not continue"
    return "" if said.size >= size else f"anchor: a checkpoint of {said.size} entries after one of {size}"


def check_releases(store: Store, told: Sequence[str]) -> str:
    """Every release is one that the developer signed, whole, and the newest is not an older one than told."""
    held = held_in(store, "release", Release, BELIEVED)
    if len(held) != len(list(store.entries(kind="release"))) or any(one.problem for one in held):
        return "box: a release that nobody signed"
    newest = held[-1].index if held else -1
    return "" if not told or (newest or 0) >= int(told[-1].split()[0]) else "anchor: an older release"


def check_spool(box: Box, told: Sequence[str]) -> tuple[int, str, int]:
    with closing(box.store()) as store:
        merge(box.home, store, box.key())
        come = Counter(
            json.loads(entry.body or b"{}")["frame"] for entry in store.entries(kind="locked-case")
        )
        bad = [entry.kind for entry in store.entries() if entry.kind.startswith("spool-")]
    missing = [receipt for receipt in told if receipt not in come]
    noticed = f"box: {bad[0]}" if bad else f"anchor: {len(missing)} receipts" if missing else ""
    return len(missing), noticed, sum(number - 1 for number in come.values())


def check_rotation(box: Box, told: Sequence[str], tried: int) -> tuple[int, str, int]:
    last = int(told[-1]) if told else 0
    key = None
    for i in sorted({last, last + (tried > last)}):
        with suppress(AkazubaError):
            key = key or unlocked(box.home, f"passphrase {i}")
    if key is None:
        unlocked(box.home, f"passphrase {last}")
    with closing(box.keys()) as keys:
        spoken = keys.identity().public.key_id
    if spoken not in (identity(last).public.key_id, identity(last + 1).public.key_id):
        return 1, "anchor: another key than the authority enrolled last", 0
    if key and sha256(key.secret).digest() != (box.home.parent / "key").read_bytes():
        return 1, "", 0
    return 0, "", 0


# --- one run -----------------------------------------------------------------------------------------


def run(number: int, seed: int, folder: Path, small: Path | None) -> Run | None:
    """None when this machine cannot make the fault (no strace, no tmpfs)."""
    kinds = SYSTEM + DISK
    kind, target = kinds[number % len(kinds)], TARGETS[number // len(kinds) % len(TARGETS)]
    chance = random.Random(f"{seed} {number}")
    if (kind == "disk full" and not small) or (kind == "EIO on fsync" and not traceable()):
        return None
    with tempfile.TemporaryDirectory(dir=small if kind == "disk full" else folder) as place:
        box = Box(Path(place) / "home", chance, jumps=kind == "clock")
        prepared(box)
        heard = worked(box, kind, target)
        (box.home / "filler").unlink(missing_ok=True)
        if kind in DISK:
            edited(box, kind, target)
        if target == "spool" and chance.random() < 0.5:
            injected = "pwrite64,fdatasync,write,unlink:signal=KILL:when=" + str(chance.randint(1, 40))
            child(box, lambda _: merge_once(box), injected)
        saved = 0
        with suppress(AkazubaError):
            if target in ("record", "audit", "release") and kind in DISK:
                saved = len(salvage(box.home, box.key()).entries)
        lost, noticed, twice = check(box, target, heard.told, heard.tried)
        altered = kind in DISK and bool(lost)
    told = len(heard.told)
    found = min(lost, max(0, saved - (told - lost)))
    refused = heard.refused, heard.refused_bare
    return Run(kind, target, told, lost, altered, noticed, twice, found, *refused, heard.errors)


def prepared(box: Box) -> None:
    key = set_up(box.home, "passphrase 0", box.chance.randbytes, CHEAP)
    (box.home.parent / "key").write_bytes(sha256(key.secret).digest())
    with closing(box.store()) as store:
        store.admit(Person("p", "Uwimana Chantal"), "nurse")
    with closing(box.keys()) as keys:
        keys._random = random.Random(0).randbytes
        keys.identity()


def worked(box: Box, kind: str, target: str) -> Heard:
    chance, inject = box.chance, ""
    if kind == "kill -9":
        inject = f"pwrite64,fdatasync,fsync,write:signal=KILL:when={chance.randint(1, 60)}"
    elif kind == "EIO on fsync":
        inject = f"fdatasync,fsync:error=EIO:when={chance.randint(1, 20)}{chance.choice(('', '+'))}"
    at, kept = chance.randrange(STEPS), chance.randrange(1, STEPS)

    def work(tell: Callable[[str], None]) -> None:
        with steps(box, target) as (step, cut):
            for i in range(STEPS):
                tell(f"try {i}")
                if i == at:
                    tell(befallen(box, kind, target, cut, i))
                if i == kept and kind in DISK:
                    shutil.copytree(box.home, box.home.parent / "earlier")
                try:
                    said = step(i)
                except (AkazubaError, OSError, sqlite3.Error) as problem:
                    tell("refused" if isinstance(problem, AkazubaError) else "refused bare")
                    unhindered(box)
                    if target == "rotation":
                        break  # which passphrase holds is not known to whoever was refused
                else:
                    tell(f"did {said}")
            os.kill(os.getpid(), signal.SIGKILL)  # nothing is closed in order

    return child(box, work, inject)


def befallen(box: Box, kind: str, target: str, cut: Step, i: int) -> str:
    """What comes over the box before its i-th thing, and what came of it, if that is known."""
    if kind in ("disk full", "short write"):
        hindered(box, kind, target)
    if kind != "link cut":
        return ""
    try:
        return f"astray {cut(i)}"
    except UntrustedError:
        return "refused"


def hindered(box: Box, kind: str, target: str) -> None:
    room = box.chance.randint(0, 9000)
    if kind == "disk full":
        free = os.statvfs(box.home).f_bavail * os.statvfs(box.home).f_frsize
        (box.home / "filler").write_bytes(bytes(max(0, free - room)))
        return
    name = {"spool": "spool.bin", "rotation": "none", "update": "none"}.get(target, "store.sqlite3-wal")
    size = (box.home / name).stat().st_size if (box.home / name).exists() else 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + room % 700, resource.RLIM_INFINITY))


def unhindered(box: Box) -> None:
    (box.home / "filler").unlink(missing_ok=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def merge_once(box: Box) -> None:
    with suppress(AkazubaError), closing(box.store()) as store:
        merge(box.home, store, box.key())


def child(box: Box, work: Callable[[Callable[[str], None]], None], inject: str) -> Heard:
    heard, say = os.pipe()
    go_on, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.read(go_on, 1)
            work(lambda line: _said(say, line))
        except BaseException as problem:
            _said(say, f"error {type(problem).__name__} {problem}".replace("\n", " "))
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(say)
    os.close(go_on)
    with attached(pid, inject, box.chance.random()):
        os.write(go, b"g")
        os.close(go)
        with os.fdopen(heard, encoding="utf-8") as lines:
            all_lines = [line.rstrip("\n") for line in lines if line.endswith("\n")]
        os.waitpid(pid, 0)
    told = [line[4:] for line in all_lines if line.startswith("did ")]
    tried = max((int(line[4:]) for line in all_lines if line.startswith("try ")), default=0)
    errors = [line for line in all_lines if line.startswith("error ")]
    refused = all_lines.count("refused"), all_lines.count("refused bare")
    return Heard(told, tried + 1, *refused, errors)


def _said(handle: int, line: str) -> None:
    os.write(handle, f"{line}\n".encode())


@contextmanager
def attached(pid: int, inject: str, after: float) -> Iterator[None]:
    """Without strace a kill comes after some time instead (0 to 0.1 s)."""
    if inject and traceable():
        with tracer(pid, inject):
            yield
    elif "KILL" in inject:
        killer = os.fork()
        if killer == 0:
            time.sleep(after / 10)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os._exit(0)
        yield
        os.waitpid(killer, 0)
    else:
        yield


@contextmanager
def tracer(pid: int, inject: str) -> Iterator[None]:
    calls = inject.partition(":")[0]
    command = ["strace", "-p", str(pid), "-e", f"trace={calls}", "-e", f"inject={inject}", "-o", "/dev/null"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        if process.stderr is None or "attached" not in process.stderr.readline():
            raise RuntimeError("strace did not attach")
        yield


@cache
def traceable() -> bool:
    """Whether strace is there and may look at a child of this process."""
    if not shutil.which("strace"):
        return False
    with subprocess.Popen(["sleep", "10"]) as sleeper:
        try:
            with tracer(sleeper.pid, "fsync:error=EIO:when=1"):
                sleeper.kill()
        except RuntimeError:
            sleeper.kill()
            return False
    return True


# --- what a disk does (MODELLED) ---------------------------------------------------------------------

FILES = {
    "record": ("store.sqlite3", "store.sqlite3-wal"),
    "audit": ("store.sqlite3", "store.sqlite3-wal", "checkpoint"),
    "spool": ("spool.bin",),
    "update": ("store.sqlite3", "store.sqlite3-wal", "site.json"),
    "release": ("store.sqlite3", "store.sqlite3-wal"),
    "rotation": ("store.key.json", "keys.sqlite3", "keys.sqlite3-wal", "device.secret"),
}


def edited(box: Box, kind: str, target: str) -> None:
    chance, home = box.chance, box.home
    there = [home / name for name in FILES[target] if (home / name).exists()]
    logs = [path for path in there if path.name.endswith("-wal") or path.name == "spool.bin"]
    if kind == "lying write":
        earlier = home.parent / "earlier"
        names = FILES[target] if chance.random() < 0.5 else (chance.choice(there).name,)
        for name in names:
            if (earlier / name).exists():
                shutil.copyfile(earlier / name, home / name)
            else:
                (home / name).unlink(missing_ok=True)
        for path in home.glob("*-shm"):
            path.unlink()
    elif kind == "bit flip":
        path = chance.choice([path for path in there if path.stat().st_size])
        data = bytearray(path.read_bytes())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
    elif logs and logs[0].stat().st_size:
        data = logs[0].read_bytes()
        if kind == "torn tail":
            logs[0].write_bytes(data[: -chance.randint(1, min(len(data), 9000))])
        else:
            logs[0].write_bytes(disordered(data, kind, chance))


def disordered(data: bytes, kind: str, chance: random.Random) -> bytes:
    if data.startswith(MARK):
        head, frames = b"", [MARK + frame for frame in data.split(MARK)[1:]]
    else:
        head, rest = data[:32], data[32:]
        frames = [rest[at : at + FRAME] for at in range(0, len(rest), FRAME)]
    at = chance.randrange(len(frames))
    if kind == "duplicate":
        frames.insert(at, frames[at])
    else:
        other = chance.randrange(len(frames))
        frames[at], frames[other] = frames[other], frames[at]
    return head + b"".join(frames)


# --- all of them ---------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A tmpfs of 4 MiB, where this process may mount one."""
    place = folder / "small"
    place.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if not mount or subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def matrix(runs: int, seed: int, only: int | None = None) -> tuple[dict[str, object], list[Run]]:
    """The counts, and every run."""
    done, skipped = list[Run](), Counter[str]()
    with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder)) as small:
        for number in range(runs) if only is None else [only]:
            made = run(number, seed, Path(folder), small)
            if made is None:
                skipped[(SYSTEM + DISK)[number % len(SYSTEM + DISK)]] += 1
            else:
                done.append(made)
    honest = [one for one in done if one.kind in SYSTEM or not one.detected]
    unseen = [one for one in done if one.altered and not one.detected]
    return {
        "faults_run": len(done),
        "faults_not_possible_here": dict(skipped),
        "acknowledged": sum(one.acknowledged for one in done),
        "acknowledged_lost": sum(one.lost for one in honest),
        "alterations": sum(one.kind in DISK and bool(one.detected) for one in done) + len(unseen),
        "alterations_undetected": len(unseen),
        "detected_by_the_box": sum(one.detected.startswith("box") for one in done),
        "detected_by_the_anchor": sum(one.detected.startswith("anchor") for one in done),
        "false_alarms": sum(one.kind in SYSTEM and bool(one.detected) for one in done),
        "merged_twice": sum(one.twice for one in done),
        "destroyed_by_the_disk": sum(one.lost for one in done if one.detected),
        "of_those_salvaged": sum(one.saved for one in done if one.detected),
        "refused_in_between": sum(one.refused for one in done),
        "refused_bare": sum(one.refused_bare for one in done),
        "tracebacks": sum(len(one.tracebacks) for one in done),
        "per_kind": {kind: _counts([one for one in done if one.kind == kind]) for kind in SYSTEM + DISK},
    }, done


def _counts(runs: Sequence[Run]) -> dict[str, int]:
    return {
        "runs": len(runs),
        "acknowledged": sum(one.acknowledged for one in runs),
        "acknowledged_lost": sum(one.lost for one in runs if one.kind in SYSTEM or not one.detected),
        "detected": sum(bool(one.detected) for one in runs),
        "alterations_undetected": sum(one.altered and not one.detected for one in runs),
    }


def main() -> None:
    arguments = options_of(__doc__, "json", "save")
    arguments.add_argument("--runs", type=int, default=1000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--only", type=int, help="one run by its number, in words")
    given = arguments.parse_args()
    started = time.monotonic()
    counts, runs = matrix(given.runs, given.seed, given.only)
    counts |= {"seed": given.seed, "seconds": round(time.monotonic() - started, 1)}
    for number, one in enumerate(runs):
        wrong = one.lost and (one.kind in SYSTEM or not one.detected)
        if (
            given.only is not None
            or wrong
            or one.twice
            or one.tracebacks
            or (one.kind in SYSTEM and one.detected)
        ):
            print(number if given.only is None else given.only, one, file=sys.stderr)
    tell(counts, given, __file__)
    failed = ("acknowledged_lost", "alterations_undetected", "merged_twice", "tracebacks", "false_alarms")
    sys.exit(any(counts[name] for name in failed))


if __name__ == "__main__":
    main()
