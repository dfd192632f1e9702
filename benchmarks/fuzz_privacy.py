"""Bytes from outside against every parser of the privacy rooms: `uv run python benchmarks/fuzz_privacy.py`.

    [--runs 1000000] [--ciphertexts 2000] [--json] [--save]

Coverage-guided (atheris, libFuzzer) from one sound message of each kind. A parser may refuse with an error of
ours; anything else is a crash, and the input is kept under `crashes/`. Payloads are also bent and signed
anew, so that what lies behind a signature is reached. `--ciphertexts` bends BFV ciphertexts and contexts:
they are read in a child process, which may end; here it counts whether the parent stands and says so.
`--save` keeps the result in `results/fuzz_privacy.json`.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from figures import options_of, tell

if "--child" in sys.argv:
    import atheris

    instrumented = atheris.instrument_imports(include=["akazuba.privacy"])
else:
    instrumented = nullcontext()

with instrumented:
    import msgspec
    import numpy as np

    from akazuba.errors import AkazubaError, UntrustedError
    from akazuba.privacy.aggregation import messages
    from akazuba.privacy.aggregation.bfv import Bfv
    from akazuba.privacy.aggregation.clinic import checked_plan
    from akazuba.privacy.aggregation.rehearsal import planned, programme, uploads
    from akazuba.privacy.aggregation.ring import DEGREE, unpacked
    from akazuba.privacy.aggregation.server import Round
    from akazuba.privacy.aggregation.shamir import share
    from akazuba.privacy.keys.enrolment import (
        Enrolment,
        Request as EnrolmentRequest,
        Revocations,
        enrol,
        only,
        request,
        requested,
        revoke,
    )
    from akazuba.privacy.keys.envelope import Hello, Offer, accept, connect, prepare, read_offer
    from akazuba.privacy.keys.identity import Identity, new_identity
    from akazuba.privacy.keys.registry import Registry
    from akazuba.privacy.keys.signed import read, sign, unwrap, verified
    from akazuba.privacy.qkd.configuration import trial_sites
    from akazuba.privacy.qkd.kme import Kme
    from akazuba.privacy.qkd.messages import (
        Block,
        KeyContainer,
        Mark,
        Marks,
        Reservation,
        Slice,
        Status,
        Voids,
        decoded,
    )
    from akazuba.privacy.qkd.requests import Answer, Request
    from akazuba.privacy.qkd.store import Store

Parser = Callable[[bytes], object]


@contextmanager
def parsers(folder: Path) -> Iterator[dict[str, tuple[bytes, Parser]]]:
    """One sound message and its reader, by name."""

    def now() -> int:
        return 1_790_000_000

    authority = new_identity(os.urandom)
    registry = Registry("fuzz", authority.public)
    box, gateway = new_identity(os.urandom), new_identity(os.urandom)
    asked = request(box, "fuzz", "box", "terminal", now())
    enrolment = enrol(authority, "fuzz", requested(asked, "fuzz", now()), 1, now())
    registry.believe(enrolment, now())
    wanted = requested(request(gateway, "fuzz", "gateway", "gateway", now()), "fuzz", now())
    registry.believe(enrol(authority, "fuzz", wanted, 2, now()), now())
    revocations = revoke(authority, "fuzz", 1, {}, now(), 9)
    prepared = prepare(gateway, now(), os.urandom)
    hello, there = connect(box, prepared.offer, registry, ["gateway"], now(), os.urandom)

    def accepted(data: bytes) -> object:
        return accept(gateway, prepared, data, registry, ["terminal"], now(), first_time=lambda *_: True)

    session = accepted(hello)
    made = programme(folder, 3, 3, now)
    given = planned(made, "mask", 10, least=2, most=3, threshold=2)
    (upload,) = uploads(made, given, [np.zeros(10)])
    server = Round(folder / "round", given.plan, made.coordinator, made.registry, now)

    def resigned(kind: str, message: type[msgspec.Struct], then: Parser, signer: object) -> Parser:
        def parse(payload: bytes) -> object:
            said = read(payload, kind, message)
            return then(sign(signer, kind, said))  # type: ignore[arg-type]

        return parse

    def payload(data: bytes) -> bytes:
        return unwrap(data, "x").payload

    found: dict[str, tuple[bytes, Parser]] = {
        "enrolment": (enrolment, lambda data: registry.believe(data, now())),
        "request": (asked, lambda data: requested(data, "fuzz", now())),
        "revocations": (revocations, lambda data: registry.believe_revocations(data, now())),
        "offer": (prepared.offer, lambda data: read_offer(data, registry, ["gateway"], now())),
        "hello": (hello, accepted),
        "record": (there.seal(b"x" * 40), session.open),  # type: ignore[attr-defined]
        "plan": (given.plan, lambda data: checked_plan(data, made.registry, now())),
        "upload": (upload, server._take),
        "packed": (bytes(50), lambda data: unpacked(data, 20, "x")),
        "share": (bytes(DEGREE * 20 // 8), lambda data: (share(data, 3, 3), share(data[:32], 1, 3))),
        "signed request": (
            payload(asked),
            resigned("enrolment-request", EnrolmentRequest, lambda d: requested(d, "fuzz", now()), box),
        ),
        "signed enrolment": (
            payload(enrolment),
            resigned("enrolment", Enrolment, lambda d: registry.believe(d, now()), authority),
        ),
        "signed offer": (
            payload(prepared.offer),
            resigned(
                "offer", Offer, lambda d: connect(box, d, registry, ["gateway"], now(), os.urandom), gateway
            ),
        ),
        "signed hello": (payload(hello), resigned("hello", Hello, accepted, box)),
        "signed plan": (
            payload(given.plan),
            resigned(
                "plan", messages.Plan, lambda d: checked_plan(d, made.registry, now()), made.coordinator
            ),
        ),
        "signed revocations": (
            payload(revocations),
            lambda data: read(data, "revocations", Revocations),
        ),
    }
    found |= _quantum_keys(folder)
    for name, kind in {
        "mask-key": messages.MaskKey,
        "encryption-key": messages.EncryptionKey,
        "contribution": messages.Contribution,
        "accepted": messages.Accepted,
        "seed-share": messages.SeedShare,
        "masked-sum": messages.MaskedSum,
    }.items():
        message, parse, inner = _simple(name, kind, box)
        found[name] = message, parse
        found[f"payload of {name}"] = payload(message), inner
    yield found
    server.close()
    made.close()


def _quantum_keys(folder: Path) -> dict[str, tuple[bytes, Parser]]:
    """Requests to a key management entity, its peer's and its link's messages, and answers to its client.

    A request's first line is its path with the query; the rest is its body.
    """
    saes = {"sae-1": "kme-a", "sae-2": "kme-b"}
    site, _ = trial_sites(("kme-a", "kme-b"), saes, "link", (1, 2))
    store = Store(folder / "kme.sqlite3", even=True, now=lambda: 1000.0, unclaimed_s=3600)

    def silent(path: str, body: bytes) -> Answer:
        raise ConnectionResetError(path, len(body))

    entity = Kme(site, store, silent)

    def asked(method: str, caller: str) -> Parser:
        def parse(data: bytes) -> object:
            line, _, body = data.partition(b"\n")
            path, _, query = line.decode("latin-1").partition("?")
            return entity.answer(Request(method, path, query, "application/json", body), caller)

        return parse

    def told(path: str, caller: str) -> Parser:
        return lambda data: entity.answer(Request("POST", path, body=data), caller)

    identifier = str(uuid.UUID(int=7))
    block = msgspec.json.encode(Block(0, bytes(2048), simulated=True))
    keys = {"keys": [{"key_ID": identifier, "key": "AAAA"}]}
    wanted = {
        "number": 3,
        "size": 256,
        "additional_slave_SAE_IDs": ["sae-2"],
        "extension_mandatory": [{"a": 1}],
    }
    ids = {"key_IDs": [{"key_ID": identifier}]}
    reserved = Reservation("r", "sae-2", ("sae-1",), (identifier,), 32, (Slice(0, 1, 0, 32),), bytes(32))
    start = b"/api/v1/keys/"
    return {
        "enc_keys POST": (start + b"sae-2/enc_keys\n" + msgspec.json.encode(wanted), asked("POST", "sae-1")),
        "enc_keys GET": (start + b"sae-2/enc_keys?number=1&size=256\n", asked("GET", "sae-1")),
        "dec_keys POST": (start + b"sae-2/dec_keys\n" + msgspec.json.encode(ids), asked("POST", "sae-1")),
        "dec_keys GET": (start + b"sae-2/dec_keys?key_ID=" + identifier.encode(), asked("GET", "sae-1")),
        "status": (start + b"sae-2/status\n", asked("GET", "sae-1")),
        "block": (block, told("/link/v1/blocks", "link")),
        "reservation": (msgspec.json.encode(reserved), told("/peer/v1/reservations", "kme-b")),
        "voids": (msgspec.json.encode(Voids((reserved,))), told("/peer/v1/voids", "kme-b")),
        "marks": (msgspec.json.encode(Marks((Mark(0, bytes(32)),))), told("/peer/v1/blocks", "kme-b")),
        "client: keys": (msgspec.json.encode(keys), lambda data: decoded(data, KeyContainer)),
        "client: status": (b"{}", lambda data: decoded(data, Status)),
    }


def _simple(name: str, kind: type[msgspec.Struct], signer: Identity) -> tuple[bytes, Parser, Parser]:
    """A signed message of a kind that has no rule beyond its fields."""
    sample = {"round_id": bytes(16), "hpke": bytes(1216), "ends": 9, "context": b"x", "total": bytes(5)}
    sample |= {"boxes": (bytes(32),), "contributions": (bytes(32),)}
    message = sign(signer, name, kind(*(sample.get(field, bytes(32)) for field in kind.__struct_fields__)))
    key = only(signer.public)
    return message, lambda data: verified(data, name, kind, key), lambda data: read(data, name, kind)


def _child(runs: int) -> None:
    """Ends the process: libFuzzer does."""
    folder = TemporaryDirectory()
    every = list(ExitStack().enter_context(parsers(Path(folder.name))).values())

    def one(data: bytes) -> None:
        if data:
            with suppress(AkazubaError):
                every[data[0] % len(every)][1](data[1:])

    corpus = Path(folder.name) / "corpus"
    corpus.mkdir()
    for number, (message, _) in enumerate(every):
        (corpus / str(number)).write_bytes(bytes([number]) + message)
    Path("crashes").mkdir(exist_ok=True)
    options = [f"-runs={runs}", "-max_len=16384", "-artifact_prefix=crashes/", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


def fuzzed(runs: int) -> dict[str, object]:
    """Runs that were made and crashes that were found, in a child process."""
    command = [sys.executable, str(Path(__file__).resolve()), "--child", "--runs", str(runs)]
    started = time.perf_counter()
    with TemporaryDirectory() as folder:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        crashes = [path.read_bytes().hex()[:400] for path in Path(folder, "crashes").glob("*")]
    made = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
    if made is None:
        sys.exit(f"error: fuzzing: expected statistics of libFuzzer, found {done.stderr[-2000:]}")
    return {
        "fuzz_runs": int(made[1]),
        "fuzz_crashes": len(crashes),
        "fuzz_inputs_of_crashes": crashes,
        "fuzz_s": round(time.perf_counter() - started, 1),
    }


def bent_ciphertexts(number: int) -> dict[str, int]:
    """What became of bent ciphertexts and contexts in the child that reads them."""
    chance = random.Random(20261128)
    ended = refused = read = 0
    with Bfv() as bfv:
        _, public = bfv.new_keys()
        bfv.open(public)
        (sound,) = bfv.encrypted(np.arange(4096))
        for turn in range(number):
            context = turn % 10 == 0
            data = bytearray(public if context else sound)
            for _ in range(chance.choice((1, 1, 2, 8, 40))):
                data[chance.randrange(len(data))] = chance.randrange(256)
            try:
                bfv.open(bytes(data)) if context else bfv.add([bytes(data)])
                read += 1
            except UntrustedError as problem:
                refused += 1
                if "ended" in problem.found:
                    ended += 1
                    bfv.__enter__()
            bfv.open(public)
    return {
        "bent_ciphertexts": number,
        "bent_ciphertexts_refused": refused,
        "bent_ciphertexts_read": read,
        "bent_ciphertexts_ended_their_reader": ended,
    }


def main() -> None:
    arguments = options_of(__doc__, "json", "save")
    arguments.add_argument("--runs", type=int, default=1_000_000)
    arguments.add_argument("--ciphertexts", type=int, default=2_000)
    arguments.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.child:
        _child(given.runs)
    figures = fuzzed(given.runs) | bent_ciphertexts(given.ciphertexts)
    tell(figures, given, __file__)
    sys.exit(1 if figures["fuzz_crashes"] else 0)


if __name__ == "__main__":
    main()
