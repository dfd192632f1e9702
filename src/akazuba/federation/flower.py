"""The federation's two Flower apps, and the only module that knows Flower (1.41).

The coordinator is a ServerApp, each gateway a SuperNode with a ClientApp. Flower carries messages and knows
who is there; what it has no part in: which updates count (`coordinator`, `gateway`), clipping, noise and
masks. Flower 1.41 forgets a running app when its SuperLink stops; a new run goes on from the coordinator's
own file. Replies are pulled from nodes that are online only: to ask for an offline node's voids what it has
uploaded.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec

from akazuba.diagnosis.network import Network
from akazuba.errors import AkazubaError, UntrustedError
from akazuba.federation.accounts import Accounts, noise_multiplier
from akazuba.federation.clipping import AdaptiveClip
from akazuba.federation.coordinator import FILE as COORDINATOR_FILE, Coordinator
from akazuba.federation.exchange import Sums, replied
from akazuba.federation.folding import Rules, starting_rules
from akazuba.federation.gateway import FILE as GATEWAY_FILE, Gateway
from akazuba.privacy.accounting import Budget
from akazuba.privacy.keys.signed import MAX_BYTES
from akazuba.privacy.keys.store import KeyStore

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # typer, which it brings, asks click for an old name
    from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict
    from flwr.clientapp import ClientApp
    from flwr.serverapp import Grid, ServerApp

TTL_S = 7 * 86_400.0
LEASE_S = 900.0
"""A gateway that is online and has not answered for so long is asked anew."""

PAUSE_S = 2.0
ASKING, SUMS = "asking", "sums"


def coordinate(
    grid: Grid,
    coordinator: Coordinator,
    until: Callable[[], bool],
    say: Callable[[str], None] = lambda _: None,
    pause_s: float = PAUSE_S,
) -> None:
    """Asks gateways that are online for their sums and adds them up, until told to stop.

    A gateway's fault costs its sum and nothing else; it is said.
    """
    pending: dict[str, tuple[int, float]] = {}
    waiting: dict[int, list[str]] = {}
    while not until():
        online = set(grid.get_node_ids())
        lately = time.monotonic() - LEASE_S
        pending = {m: p for m, p in pending.items() if p[1] > lately or p[0] not in online}
        free = sorted(online - {node for node, _ in pending.values()})
        asked = [_asked(coordinator, node, waiting.get(node, [])) for node in free]
        for message_id, node in zip(grid.push_messages(asked) if asked else [], free, strict=False):
            if message_id:
                pending[message_id] = (node, time.monotonic())
        for reply in _replies(grid, [m for m, (node, _) in pending.items() if node in online]):
            node, _ = pending.pop(reply.metadata.reply_to_message_id, (0, 0.0))
            try:
                waiting[node] = _taken(coordinator, reply, say)
            except AkazubaError as problem:
                say(f"node {node}: {problem}")
        time.sleep(pause_s)


def _asked(coordinator: Coordinator, node: int, ids: list[str]) -> Message:
    data = msgspec.msgpack.encode(coordinator.asking(ids))
    content = RecordDict({ASKING: ConfigRecord({"bytes": data})})
    group = str(coordinator.folding.version)
    return Message(content, dst_node_id=node, message_type=MessageType.QUERY, ttl=TTL_S, group_id=group)


def _replies(grid: Grid, message_ids: list[str]) -> Iterable[Message]:
    return grid.pull_messages(message_ids) if message_ids else []


def _taken(coordinator: Coordinator, reply: Message, say: Callable[[str], None]) -> list[str]:
    """Adds a reply's sums up; the ids that its gateway still holds."""
    if reply.has_error():
        raise UntrustedError("gateway", "sums", f"Flower's error {reply.error.code}: {reply.error.reason}")
    data = reply.content[SUMS]["bytes"]
    if not isinstance(data, bytes) or len(data) > MAX_BYTES:
        raise UntrustedError("gateway", f"at most {MAX_BYTES} bytes", type(data).__name__)
    try:
        told = msgspec.msgpack.decode(data, type=Sums)
    except (msgspec.MsgspecError, ValueError) as problem:
        raise UntrustedError("gateway", "a gateway's sums", str(problem)) from problem
    for one in told.sums:
        found = coordinator.take(one)
        if found.made:
            say(f"version {found.made.version}: {len(found.made.ids)} updates")
        if found.refused:
            say(f"not added: {found.refused}")
    return told.waiting


server = ServerApp()
client = ClientApp()


@server.main()
def _main(grid: Grid, context: Context) -> None:
    """Run config: home (folder), features, classes, hidden, buffer, robust (a centre or ""), epsilon, delta
    and participations (of each clinic; epsilon 0: no noise), versions (0: for ever), seconds (0: for ever),
    clip_norm (that stays; 0: it finds its own size), meaning (hexadecimal; "": as the file has it).
    """
    config = context.run_config
    home = Path(str(config["home"]))
    network = Network(int(config["features"]), int(config["classes"]), int(config["hidden"]))
    ends = time.monotonic() + float(config["seconds"]) if config["seconds"] else float("inf")
    versions = int(config["versions"]) or 2**62
    rules, accounts = _rules(config)
    with closing(KeyStore(home / "keys.sqlite3", _now)) as keys:
        coordinator = Coordinator(
            home / COORDINATOR_FILE,
            rules,
            network.start(0),
            keys.identity(),
            keys.registry(),
            _now,
            os.urandom,
            accounts,
            bytes.fromhex(str(config["meaning"])),
        )
        with closing(coordinator):
            _say(f"version {coordinator.folding.version}: goes on from there")
            done = lambda: time.monotonic() > ends or coordinator.folding.version >= versions  # noqa: E731
            coordinate(grid, coordinator, done, _say)
            _say(f"version {coordinator.folding.version}: the end")


def _rules(config: Mapping[str, object]) -> tuple[Rules, Accounts | None]:
    buffer, robust = int(str(config["buffer"])), str(config["robust"]) or None
    epsilon, held = float(str(config["epsilon"])), float(str(config.get("clip_norm", 0.0)))
    multiplier, accounts = 0.0, None
    if epsilon:
        budget = Budget(epsilon, float(str(config["delta"])))
        multiplier = noise_multiplier(epsilon, budget.delta, int(str(config["participations"])))
        accounts = Accounts(budget)
    rules = starting_rules(buffer, multiplier, robust)  # type: ignore[arg-type]
    if held:
        rules = replace(rules, clip=AdaptiveClip(held, rate=0.0))
    return rules, accounts


@client.query()
def _query(message: Message, context: Context) -> Message:
    """Node config: home (the gateway's folder; its door may be open in another process)."""
    home = Path(str(context.node_config["home"]))
    with closing(KeyStore(home / "keys.sqlite3", _now)) as keys:
        registry, identity = keys.registry(), keys.identity()
        with closing(Gateway(home / GATEWAY_FILE, identity, registry, _now)) as gateway:
            asking = message.content[ASKING]["bytes"]
            if not isinstance(asking, bytes):
                raise UntrustedError("asking", "bytes", type(asking).__name__)
            data = replied(gateway, identity, registry.programme, asking)
    return Message(RecordDict({SUMS: ConfigRecord({"bytes": data})}), reply_to=message)


def _now() -> int:
    return int(time.time())


def _say(text: str) -> None:
    print(f"akazuba {text}", flush=True)  # noqa: T201 - Flower keeps an app's standard output as its log
