"""`akazuba federate`: boxes that improve one another's model without their data leaving them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from akazuba.cli.federate_learn import learn, opinion, own_head, programme
from akazuba.cli.federate_masked import masked
from akazuba.cli.federate_release import adopt, predict, publish, release
from akazuba.cli.federate_shared import (
    fetched,
    network_of,
    now_s,
    of_network,
    own_keys,
    own_sender,
    read_given,
    sun,
    write_out,
)
from akazuba.cli.federate_simulate import simulate
from akazuba.cli.shared import FAILED, errors_shown, show

if TYPE_CHECKING:
    from akazuba.federation.gateway import Gateway
    from akazuba.federation.sending import Sender


@click.group()
def federate() -> None:
    """Improve the model together with other boxes; no patient's data leave this one.

    Example: akazuba federate simulate
    """


for _command in (adopt, learn, masked, opinion, own_head, predict, programme, publish, release, simulate):
    federate.add_command(_command)

FOLDER = click.Path(path_type=Path)
PROGRAMME = click.option("--programme", default="akazuba", show_default=True, help="The programme's name.")


@federate.command()
@click.argument(
    "role", type=click.Choice(["authority", "terminal", "gateway", "coordinator", "mask-steward"])
)
@click.option("--name", default="", help="Of this box in the programme; not for the authority.")
@PROGRAMME
@click.option("--root", type=FOLDER, help="The authority's file; not for the authority itself.")
@click.option("--out", type=FOLDER, required=True, help="What to bring to the authority.")
def request(role: str, name: str, programme: str, root: Path | None, out: Path) -> None:
    """Join a programme: the authority writes its public key, another box its request to be enrolled.

    Example: akazuba federate request terminal --name "health post 7" --root root.key --out request.bin
    """
    import msgspec

    from akazuba.errors import InputError
    from akazuba.privacy.keys.enrolment import request as asked
    from akazuba.privacy.keys.identity import PublicIdentity

    with errors_shown(), own_keys() as keys:
        own = keys.identity()
        if role == "authority":
            keys.join(programme, own.public)
            write_out(out, msgspec.msgpack.encode(own.public))
            return
        if root is None or not name:
            raise InputError("request", "--name and --root", "one is missing")
        try:
            public = msgspec.msgpack.decode(read_given(root), type=PublicIdentity)
        except msgspec.MsgspecError as problem:
            raise InputError(str(root), "the authority's public key", str(problem)) from problem
        keys.join(programme, public)
        write_out(out, asked(own, programme, name, role, now_s()))  # type: ignore[arg-type]


@federate.command()
@click.argument("wanted", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="The signed enrolment.")
def enrol(wanted: Path, out: Path) -> None:
    """At the authority: enrol a box by its request. Every box of the programme is then to believe it.

    Example: akazuba federate enrol request.bin --out post-7.enrolment
    """
    from akazuba.privacy.keys.enrolment import enrol as enrolled, requested

    with errors_shown(), own_keys() as keys:
        registry = keys.registry()
        asked = requested(read_given(wanted), registry.programme, now_s())
        serial = 1 + max((one.serial for one in registry), default=0)
        data = enrolled(keys.identity(), registry.programme, asked, serial, now_s())
        keys.believe(registry, "enrolment", data)
        write_out(out, data)
    show(f"{asked.name} as {asked.role}")


@federate.command()
@click.argument("files", type=FOLDER, nargs=-1, required=True)
def believe(files: tuple[Path, ...]) -> None:
    """Take in enrolments that the authority signed.

    Example: akazuba federate believe *.enrolment
    """
    from akazuba.privacy.keys.enrolment import Enrolment

    with errors_shown(), own_keys() as keys:
        registry = keys.registry()
        for path in files:
            taken = keys.believe(registry, "enrolment", read_given(path))
            if isinstance(taken, Enrolment):
                show(f"{taken.name} as {taken.role}")


@federate.command()
@click.argument("url")
@click.option(
    "--cases", type=FOLDER, help="Train on these first: .npz with inputs, labels, confirmed, consented."
)
@click.option("--features", type=click.IntRange(1, 100_000), help="Of the network; with --cases.")
@click.option("--classes", type=click.IntRange(2, 1000), default=2, show_default=True)
@click.option("--hidden", type=click.IntRange(0, 10_000), default=0, show_default=True)
@click.option("--authority", type=FOLDER, help="PEM of whom the gateway's certificate is from.")
@click.option("--every", type=click.IntRange(60, 86_400), help="Send again and again, every so many seconds.")
def join(
    url: str,
    cases: Path | None,
    features: int | None,
    classes: int,
    hidden: int,
    authority: Path | None,
    every: int | None,
) -> None:
    """At a terminal: fetch the newest model, train on confirmed and consented cases, send what waits.

    Example: akazuba federate join https://gateway.example --cases cases.npz --features 30
    """
    from akazuba.federation.doors import HttpLink

    with errors_shown(), own_sender() as sender, closing(HttpLink(url, authority)) as link:
        if (version := fetched(sender, link)) is not None:
            show(f"model: version {version}")
        if cases is not None:
            _train(sender, cases, features, classes, hidden)
        while True:
            sent = sender.send_all(link)
            show(f"accepted {sent.accepted}, refused {sent.refused}, still waiting {sent.left}")
            if sent.broke:
                click.echo(f"error: {sent.broke}", err=True)
            if every is None:
                break
            time.sleep(every)
    if sent.left:
        sys.exit(FAILED)


def _train(sender: Sender, cases: Path, features: int | None, classes: int, hidden: int) -> None:
    from akazuba.diagnosis.network import Network
    from akazuba.errors import InputError
    from akazuba.federation.terminal import Training, own_cases, train
    from akazuba.federation.updates import released

    data = sender.outbox.model()
    if features is None or data is None:
        found = "no --features" if features is None else "no model was ever fetched"
        raise InputError("training", "--features, and a model to start from", found)
    release = released(data, sender.registry, now_s())
    verdict = sun()
    show(verdict.because)
    if not verdict.allowed:
        return
    network = Network(features, classes, hidden)
    own = own_cases(cases)
    kept = train(sender.outbox, sender.identity, release, network, own, Training(), now_s)
    used = f"{len(own.labels)} cases used, {own.left_out} neither confirmed nor consented left out"
    show(f"trained: update {kept.serial}, {kept.size} bytes; {used}")


@federate.command("export")
@click.argument("stick", type=FOLDER)
def export_(stick: Path) -> None:
    """At a terminal: put what waits onto a stick. It stays here until a gateway's answer comes back.

    Example: akazuba federate export /media/stick
    """
    from akazuba.federation.stick import export

    with errors_shown(), own_sender() as sender:
        for one in sender.outbox.waiting():
            sender.departing(sender.outbox.read(one.id))
        show(f"on the stick: {len(export(sender.outbox, stick))} updates")


@federate.command("import")
@click.argument("stick", type=FOLDER)
def import_(stick: Path) -> None:
    """Take in what a stick brings: a gateway its updates, a terminal the answers and the newest model.

    Example: akazuba federate import /media/stick
    """
    from akazuba.federation import stick as sticks
    from akazuba.federation.updates import released

    with errors_shown(), own_keys() as keys:
        role = keys.registry().member(keys.identity().public.key_id, ROLES, now_s()).role
    if role == "gateway":
        with errors_shown(), _gateway() as opened:
            answers, without = sticks.deliver(stick, opened.take)
            if (data := opened.model()) is not None:
                sticks.put(stick / sticks.FOLDER / f"newest{sticks.MODEL}", data)
        show(f"answered {answers}, not taken {without}")
        return
    with errors_shown(), own_sender() as sender:
        for _, data in sticks.found(stick, sticks.MODEL):
            sender.outbox.keep_model(released(data, sender.registry, now_s()).version, data)
        taken = sticks.collect(stick, sender.answered)
        show(f"answers {taken}, still waiting {len(sender.outbox.waiting())}")


ROLES: tuple[Any, ...] = ("terminal", "gateway", "coordinator")


@contextmanager
def _gateway() -> Iterator[Gateway]:
    from akazuba.federation.gateway import FILE, Gateway
    from akazuba.settings import from_environ

    with own_keys() as keys:
        made = Gateway(from_environ().home / FILE, keys.identity(), keys.registry(), now_s)
        with closing(made) as opened:
            yield opened


@federate.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8490, show_default=True)
@click.option("--certificate", type=FOLDER, help="PEM; with --key the door is HTTPS.")
@click.option("--key", type=FOLDER)
@click.option("--model", type=FOLDER, help="Take in a coordinator's release first.")
@click.option("--superlink", help="HOST:PORT of the coordinator; without it only sticks bring sums on.")
@click.option("--authority", type=FOLDER, help="PEM of whom the coordinator's certificate is from.")
@click.option("--node-key", type=FOLDER, help="This gateway's P-384 node key (OpenSSH).")
@click.option("--node-port", type=click.IntRange(1, 65535), default=9094, show_default=True)
def gateway(
    host: str,
    port: int,
    certificate: Path | None,
    key: Path | None,
    model: Path | None,
    superlink: str | None,
    authority: Path | None,
    node_key: Path | None,
    node_port: int,
) -> None:
    """At a gateway: take terminals' updates in, and give their sums to the coordinator; carry masked rounds.

    Example: akazuba federate gateway --superlink coordinator:8000 --authority ca.pem --node-key north
    """
    from akazuba.federation.board import Board
    from akazuba.federation.deployment import child, supernode
    from akazuba.federation.doors import serve as listen
    from akazuba.settings import from_environ

    with errors_shown(), ExitStack() as stack:
        home = from_environ().home
        opened = stack.enter_context(_gateway())
        with own_keys() as keys:
            board = Board(home / "round", keys.registry(), now_s, opened.publish)
        if model is not None:
            show(f"model: version {opened.publish(read_given(model)).version}")
        if superlink is not None:
            command = supernode(home, superlink, authority, node_key, node_port)
            stack.enter_context(child(command, home, home / "flower" / "supernode.log"))
        show(f"http{'s' if certificate else ''}://{host}:{port}")
        listen(opened, board, host, port, certificate, key)


@federate.command("own-model")
@click.argument("out", type=FOLDER)
def own_model(out: Path) -> None:
    """At a gateway: write the newest version, moved by what waits here, for `federate release --gateway`.

    Example: akazuba federate own-model north.npy
    """
    import io

    import numpy as np

    from akazuba.federation import exchange

    with errors_shown(), _gateway() as opened:
        numbers, updates = exchange.own_model(opened)
        file = io.BytesIO()
        np.save(file, numbers)
        show(f"of {updates} updates")
        write_out(out, file.getvalue())


@federate.command()
@of_network
@click.option("--buffer", type=click.IntRange(1, 100_000), default=10, show_default=True)
@click.option("--robust", type=click.Choice(["median", "trimmed-mean", "krum"]), help="A centre of pairs.")
@click.option("--epsilon", type=click.FloatRange(0.01, 100), help="Noise: the most that a clinic may spend.")
@click.option("--delta", type=click.FloatRange(1e-12, 0.001), default=1e-6, show_default=True)
@click.option("--participations", type=click.IntRange(1), default=50, show_default=True, help="For epsilon.")
@click.option("--clip-norm", type=click.FloatRange(1e-6, 1e6), help="Held; else it finds its own size.")
@click.option("--versions", type=click.IntRange(0), default=0, help="Stop after so many; 0: never.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--certificate", type=FOLDER, help="PEM of the SuperLink.")
@click.option("--key", type=FOLDER)
@click.option("--authority", type=FOLDER, help="PEM of whom the certificate is from.")
@click.option("--nodes", type=FOLDER, help="Folder of the gateways' public node keys (*.pub).")
@click.option("--plain", is_flag=True, help="Without TLS and node keys: one machine, tests.")
def serve(
    signed: Path | None,
    features: int | None,
    classes: int,
    hidden: int,
    buffer: int,
    robust: str | None,
    epsilon: float | None,
    delta: float,
    participations: int,
    clip_norm: float | None,
    versions: int,
    host: str,
    port: int,
    certificate: Path | None,
    key: Path | None,
    authority: Path | None,
    nodes: Path | None,
    plain: bool,
) -> None:
    """At the coordinator: add gateways' sums up and make versions; goes on where it was. Runs Flower.

    Example: akazuba federate serve --programme p --certificate s.pem --key s.key --authority ca.pem --nodes n
    """
    from akazuba.errors import InputError
    from akazuba.federation import deployment
    from akazuba.settings import from_environ

    with errors_shown():
        home, tls = from_environ().home, None
        if not plain:
            if certificate is None or key is None or authority is None or nodes is None:
                expected = "--certificate, --key, --authority and --nodes (or --plain)"
                raise InputError("serve", expected, "one is missing")
            tls = deployment.Tls(certificate, key, authority, nodes)
        with own_keys() as keys:
            registry = keys.registry()
            registry.member(keys.identity().public.key_id, ["coordinator"], now_s())
            network, meaning = network_of(signed, registry, features, classes, hidden)
        deployment.write_connection(home, f"{host}:{port}", tls)
        config: dict[str, deployment.Value] = {
            "home": str(home),
            "features": network.features,
            "classes": network.classes,
            "hidden": network.hidden,
            "meaning": meaning.hex(),
            "buffer": buffer,
            "robust": robust or "",
            "epsilon": epsilon or 0.0,
            "delta": delta,
            "participations": participations,
            "clip_norm": clip_norm or 0.0,
            "versions": versions,
            "seconds": 0,
        }
        app = home / "flower" / "app"
        deployment.write_app(app, config)
        with deployment.superlink(home, host, port, tls):
            if tls is not None:
                show(f"node keys: {', '.join(deployment.register(home, tls.nodes))}")
            code, said = deployment.flwr(home, ["run", str(app), "own", "--stream"])
        show("\n".join(line for line in said.splitlines() if "akazuba " in line))
    if code:
        sys.exit(FAILED)
