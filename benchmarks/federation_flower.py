"""Flower's SuperLink on the test of `federation_speed.py`: updates of a million int8 numbers in a second.

    uv run python benchmarks/federation_flower.py [--seconds 30] [--nodes 8] [--json]

A SuperLink (1.41, its messages in SQLite), a ServerApp that hands a model of four million bytes to each node
and takes an update of a million int8 numbers back, over and over, and so many nodes that answer at once, by
Flower's own client for its fleet. An update counts when the ServerApp has it (`flower_updates_per_s`). There
is no TLS, as in the gateway's own test, and no signature, of which the gateway checks and makes one for each
update. Processor time is that of SuperLink and ServerApp.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")

from akazuba.federation import deployment

DIMENSION = 1_000_000
TOLD = "akazuba flower figures "


def measured(seconds: float, nodes: int) -> dict[str, float]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with TemporaryDirectory() as folder:
        home = Path(folder)
        deployment.write_connection(home, f"127.0.0.1:{port}", None)
        app = home / "app"
        config: dict[str, deployment.Value] = {"seconds": seconds, "nodes": nodes, "root": os.getpid()}
        deployment.write_app(app, config)
        here = str(Path(__file__).parent)
        source = f"import sys\n\nsys.path.append({here!r})\nfrom federation_flower import apps\n\n"
        source += "server = apps()[0]\nclient = apps()[1]\n"
        (app / "akazuba_federation" / "__init__.py").write_text(source, encoding="utf-8")
        command = [sys.executable, __file__, "--fleet", f"127.0.0.1:{port}", "--nodes", str(nodes)]
        with deployment.superlink(home, "127.0.0.1", port, None):
            fleet = subprocess.Popen(command, env=deployment.environment(home))
            try:
                code, said = deployment.flwr(home, ["run", str(app), "own", "--stream"])
            finally:
                fleet.kill()
                fleet.wait()
    for line in said.splitlines():
        if TOLD in line:
            found: dict[str, float] = json.loads(line.partition(TOLD)[2])
            return found
    raise SystemExit(f"flwr run ended with {code}:\n{said}")


def apps() -> tuple[Any, Any]:
    from flwr.app import Context
    from flwr.clientapp import ClientApp
    from flwr.serverapp import Grid, ServerApp

    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        config = context.run_config
        found = _served(grid, float(config["seconds"]), int(config["nodes"]), int(config["root"]))
        print(TOLD + json.dumps(found), flush=True)

    return server, ClientApp()


def _served(grid: Any, seconds: float, nodes: int, root: int) -> dict[str, float]:
    from flwr.app import Array, ArrayRecord, Message, MessageType, RecordDict

    model = ArrayRecord({"model": Array(np.zeros(DIMENSION, np.float32))})
    total, updates, pending = np.zeros(DIMENSION, np.float32), 0, dict[str, int]()
    while len(idle := set(grid.get_node_ids())) < nodes:
        time.sleep(0.2)
    began, cpu = time.monotonic(), _cpu_s(root)
    while time.monotonic() - began < seconds:
        made = [
            Message(
                RecordDict({"model": model}), dst_node_id=node, message_type=MessageType.TRAIN, ttl=3600.0
            )
            for node in idle
        ]
        pending |= dict(zip(grid.push_messages(made) if made else [], idle, strict=True))
        idle = set()
        for reply in grid.pull_messages(list(pending)):
            idle.add(pending.pop(reply.metadata.reply_to_message_id))
            numbers = reply.content["update"]["numbers"].numpy()
            total += numbers
            updates += 1
        time.sleep(0.02)
    spent, cpu = time.monotonic() - began, _cpu_s(root) - cpu
    return {
        "flower_updates_per_s": updates / spent,
        "flower_updates": updates,
        "flower_nodes": nodes,
        "flower_processor_ms_an_update": cpu / max(1, updates) * 1e3,
        "flower_processors_got": cpu / spent,
    }


def _cpu_s(root: int) -> float:
    """Of all processes below `root` but those that play the nodes."""
    parents, found = {root}, 0.0
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda one: int(one.name)):
        try:
            fields = (folder / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
            nodes = "--fleet" in (folder / "cmdline").read_text()
        except OSError:
            continue
        if int(fields[1]) in parents and not nodes:
            parents.add(int(folder.name))
            found += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def fleet(address: str, nodes: int) -> None:
    """Nodes that answer until they are stopped."""
    threads = [threading.Thread(target=_node, args=(address, seed), daemon=True) for seed in range(nodes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _node(address: str, seed: int) -> None:
    from flwr.app import Array, ArrayRecord, Message, RecordDict
    from flwr.supercore.inflatable.inflatable_object import (
        get_all_nested_objects,
        get_object_tree,
        iterate_object_tree,
        no_object_id_recompute,
    )
    from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents, pull_objects
    from flwr.supernode.fleet_http_connection import http_request_response

    random, serial = np.random.default_rng(seed), 0
    numbers = random.integers(-127, 128, DIMENSION, np.int8)
    with http_request_response(address, insecure=True, max_retries=3) as connection:
        _, receive, send, _, _, pull, push, confirm = connection
        while True:
            if (asked := receive()) is None:
                time.sleep(0.02)
                continue
            message, tree = asked
            run, asked_id = message.metadata.run_id, message.metadata.message_id
            wanted = [one.object_id for one in iterate_object_tree(tree)]
            objects = pull_objects(wanted, pull_object_fn=lambda one, run=run: pull(run, one))
            confirm(run, asked_id)
            full = inflate_object_from_contents(asked_id, objects)
            full.content["model"]["model"].numpy()  # as a terminal needs it
            full.metadata.__dict__["_message_id"] = asked_id
            serial += 1
            numbers[:8] = np.frombuffer(serial.to_bytes(8, "little"), np.int8)  # no update like another
            record = RecordDict({"update": ArrayRecord({"numbers": Array(numbers)})})
            reply = Message(record, reply_to=full)
            with no_object_id_recompute():
                reply.metadata.__dict__["_message_id"] = reply.object_id
                objects_of = {one: part.deflate() for one, part in get_all_nested_objects(reply).items()}
                to_push, session = send(reply, get_object_tree(reply), 0.0)
                for one in to_push:
                    push(run, session, one, objects_of[one])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=30.0)
    arguments.add_argument("--nodes", type=int, default=8)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--fleet", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.fleet:
        fleet(given.fleet, given.nodes)
        return
    print(json.dumps(measured(given.seconds, given.nodes), indent=None if given.json else 2))


if __name__ == "__main__":
    main()
