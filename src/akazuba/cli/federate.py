"""`akazuba federate`: boxes that improve one another's model without their data leaving them."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from akazuba.cli.shared import FAILED, errors_shown, show

if TYPE_CHECKING:
    from akazuba.federation.gateway import Gateway
    from akazuba.federation.sending import Sender
    from akazuba.federation.simulate import Bounds, Course, Method, Plan
    from akazuba.federation.worlds import World
    from akazuba.privacy.keys.store import KeyStore

METHODS: tuple[Method, ...] = ("ours", "fedavg", "fedavg-dropped", "fedasync", "fedbuff")


@click.group()
def federate() -> None:
    """Improve the model together with other boxes; no patient's data leave this one.

    Example: akazuba federate simulate
    """


FOLDER = click.Path(path_type=Path)
PROGRAMME = click.option("--programme", default="akazuba", show_default=True, help="The programme's name.")


def _now() -> int:
    return int(time.time())


@contextmanager
def _keys() -> Iterator[KeyStore]:
    from akazuba.privacy.keys.store import KeyStore
    from akazuba.settings import from_environ

    with closing(KeyStore(from_environ().home / "keys.sqlite3", _now)) as keys:
        yield keys


def _read(path: Path) -> bytes:
    from akazuba.errors import InputError, why_not_opened

    try:
        return path.read_bytes()
    except OSError as problem:
        raise InputError(str(path), "a file that can be read", why_not_opened(problem)) from problem


def _write(path: Path, data: bytes) -> None:
    from akazuba.federation.stick import put

    put(path, data)
    show(f"written: {path}")


@federate.command()
@click.argument("role", type=click.Choice(["authority", "terminal", "gateway", "coordinator"]))
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

    with errors_shown(), _keys() as keys:
        own = keys.identity()
        if role == "authority":
            keys.join(programme, own.public)
            _write(out, msgspec.msgpack.encode(own.public))
            return
        if root is None or not name:
            raise InputError("request", "--name and --root", "one is missing")
        try:
            public = msgspec.msgpack.decode(_read(root), type=PublicIdentity)
        except msgspec.MsgspecError as problem:
            raise InputError(str(root), "the authority's public key", str(problem)) from problem
        keys.join(programme, public)
        _write(out, asked(own, programme, name, role, _now()))  # type: ignore[arg-type]


@federate.command()
@click.argument("wanted", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="The signed enrolment.")
def enrol(wanted: Path, out: Path) -> None:
    """At the authority: enrol a box by its request. Every box of the programme is then to believe it.

    Example: akazuba federate enrol request.bin --out post-7.enrolment
    """
    from akazuba.privacy.keys.enrolment import enrol as enrolled, requested

    with errors_shown(), _keys() as keys:
        registry = keys.registry()
        asked = requested(_read(wanted), registry.programme, _now())
        serial = 1 + max((one.serial for one in registry), default=0)
        data = enrolled(keys.identity(), registry.programme, asked, serial, _now())
        keys.believe(registry, "enrolment", data)
        _write(out, data)
    show(f"{asked.name} as {asked.role}")


@federate.command()
@click.argument("files", type=FOLDER, nargs=-1, required=True)
def believe(files: tuple[Path, ...]) -> None:
    """Take in enrolments that the authority signed.

    Example: akazuba federate believe *.enrolment
    """
    from akazuba.privacy.keys.enrolment import Enrolment

    with errors_shown(), _keys() as keys:
        registry = keys.registry()
        for path in files:
            taken = keys.believe(registry, "enrolment", _read(path))
            if isinstance(taken, Enrolment):
                show(f"{taken.name} as {taken.role}")


@contextmanager
def _sender() -> Iterator[Sender]:
    """Outbox and beliefs of this terminal; what leaves is in the privacy ledger before, once."""
    from akazuba.federation.outbox import FILE, Outbox
    from akazuba.federation.sending import Sender
    from akazuba.privacy.ledger import UNPROTECTED, Ledger
    from akazuba.settings import from_environ

    home = from_environ().home
    with _keys() as keys, closing(Outbox(home / FILE, _now)) as outbox, Ledger(home) as ledger:
        known = {one.sha256 for one in ledger.departures()}

        def departing(data: bytes) -> None:
            if (digest := sha256(data).hexdigest()) not in known:
                ledger.depart("model-update", "federation gateway", data, UNPROTECTED)
                known.add(digest)

        yield Sender(outbox, keys.identity(), keys.registry(), _now, departing)


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
    from akazuba.federation.sending import LinkError
    from akazuba.federation.updates import released

    with errors_shown(), _sender() as sender, closing(HttpLink(url, authority)) as link:
        try:
            if (data := link.model()) is not None:
                release = released(data, sender.registry, _now())
                sender.outbox.keep_model(release.version, data)
                show(f"model: version {release.version}")
        except LinkError as problem:
            click.echo(f"error: {problem}", err=True)
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
    from akazuba.errors import InputError
    from akazuba.federation.network import Network
    from akazuba.federation.terminal import Training, own_cases, train
    from akazuba.federation.updates import released

    data = sender.outbox.model()
    if features is None or data is None:
        found = "no --features" if features is None else "no model was ever fetched"
        raise InputError("training", "--features, and a model to start from", found)
    release = released(data, sender.registry, _now())
    network = Network(features, classes, hidden)
    own = own_cases(cases)
    kept = train(sender.outbox, sender.identity, release, network, own, Training(), _now)
    used = f"{len(own.labels)} cases used, {own.left_out} neither confirmed nor consented left out"
    show(f"trained: update {kept.serial}, {kept.size} bytes; {used}")


@federate.command("export")
@click.argument("stick", type=FOLDER)
def export_(stick: Path) -> None:
    """At a terminal: put what waits onto a stick. It stays here until a gateway's answer comes back.

    Example: akazuba federate export /media/stick
    """
    from akazuba.federation.stick import export

    with errors_shown(), _sender() as sender:
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

    with errors_shown(), _keys() as keys:
        role = keys.registry().member(keys.identity().public.key_id, ROLES, _now()).role
    if role == "gateway":
        with errors_shown(), _gateway() as opened:
            answers, without = sticks.deliver(stick, opened.take)
            if (data := opened.model()) is not None:
                sticks.put(stick / sticks.FOLDER / f"newest{sticks.MODEL}", data)
        show(f"answered {answers}, not taken {without}")
        return
    with errors_shown(), _sender() as sender:
        for _, data in sticks.found(stick, sticks.MODEL):
            sender.outbox.keep_model(released(data, sender.registry, _now()).version, data)
        taken = sticks.collect(stick, sender.answered)
        show(f"answers {taken}, still waiting {len(sender.outbox.waiting())}")


ROLES: tuple[Any, ...] = ("terminal", "gateway", "coordinator")


@contextmanager
def _gateway() -> Iterator[Gateway]:
    from akazuba.federation.gateway import FILE, Gateway
    from akazuba.settings import from_environ

    with _keys() as keys:
        made = Gateway(from_environ().home / FILE, keys.identity(), keys.registry(), _now)
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
    """At a gateway: take terminals' updates in, and give their sums to the coordinator.

    Example: akazuba federate gateway --superlink coordinator:8000 --authority ca.pem --node-key north
    """
    from akazuba.federation.deployment import child, supernode
    from akazuba.federation.doors import serve as listen
    from akazuba.settings import from_environ

    with errors_shown(), ExitStack() as stack:
        home = from_environ().home
        opened = stack.enter_context(_gateway())
        if model is not None:
            show(f"model: version {opened.publish(_read(model)).version}")
        if superlink is not None:
            command = supernode(home, superlink, authority, node_key, node_port)
            stack.enter_context(child(command, home, home / "flower" / "supernode.log"))
        show(f"http{'s' if certificate else ''}://{host}:{port}")
        listen(opened, host, port, certificate, key)


@federate.command()
@click.option("--features", type=click.IntRange(1, 100_000), required=True, help="Of the network.")
@click.option("--classes", type=click.IntRange(2, 1000), default=2, show_default=True)
@click.option("--hidden", type=click.IntRange(0, 10_000), default=0, show_default=True)
@click.option("--buffer", type=click.IntRange(1, 100_000), default=10, show_default=True)
@click.option("--robust", type=click.Choice(["median", "trimmed-mean", "krum"]), help="A centre of pairs.")
@click.option("--epsilon", type=click.FloatRange(0.01, 100), help="Noise: the most that a clinic may spend.")
@click.option("--delta", type=click.FloatRange(1e-12, 0.001), default=1e-6, show_default=True)
@click.option("--participations", type=click.IntRange(1), default=50, show_default=True, help="For epsilon.")
@click.option("--versions", type=click.IntRange(0), default=0, help="Stop after so many; 0: never.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--certificate", type=FOLDER, help="PEM of the SuperLink.")
@click.option("--key", type=FOLDER)
@click.option("--authority", type=FOLDER, help="PEM of whom the certificate is from.")
@click.option("--nodes", type=FOLDER, help="Folder of the gateways' public node keys (*.pub).")
@click.option("--plain", is_flag=True, help="Without TLS and node keys: one machine, tests.")
def serve(
    features: int,
    classes: int,
    hidden: int,
    buffer: int,
    robust: str | None,
    epsilon: float | None,
    delta: float,
    participations: int,
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

    Example: akazuba federate serve --features 30 --certificate s.pem --key s.key --authority ca.pem --nodes n
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
        with _keys() as keys:
            keys.registry().member(keys.identity().public.key_id, ["coordinator"], _now())
        deployment.write_connection(home, f"{host}:{port}", tls)
        config: dict[str, deployment.Value] = {
            "home": str(home),
            "features": features,
            "classes": classes,
            "hidden": hidden,
            "buffer": buffer,
            "robust": robust or "",
            "epsilon": epsilon or 0.0,
            "delta": delta,
            "participations": participations,
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


@federate.command()
@click.option(
    "--world",
    type=click.Choice(["drawn", "heart"]),
    default="drawn",
    show_default=True,
    help="Invented cases, or four real hospitals' heart disease table (--data).",
)
@click.option("--data", type=click.Path(path_type=Path), help="Folder with heart_disease_4site.")
@click.option("--clinics", type=click.IntRange(4, 2000), help="Default: 40 drawn ones, 4 hospitals.")
@click.option(
    "--buffer", type=click.IntRange(1, 1000), help="Terminals in a version. Default: 10, or 2 of 4."
)
@click.option("--days", type=click.FloatRange(1, 366), default=20.0, show_default=True)
@click.option("--turn-days", type=click.FloatRange(5, 10_000), help="Drift: the truth turns once in so many.")
@click.option("--outage", type=click.FloatRange(0, 0.95), default=0.5, show_default=True)
@click.option("--stuck", type=click.FloatRange(0, 1), default=0.2, show_default=True)
@click.option("--stuck-hours", type=click.FloatRange(1, 2000), default=60.0, show_default=True)
@click.option("--liars", type=click.FloatRange(0, 0.5), default=0.0, help="Share of sign-flipping clinics.")
@click.option("--lie", type=click.FloatRange(0, 1000), default=1.0, help="How many times as large.")
@click.option("--robust", type=click.Choice(["median", "trimmed-mean", "krum"]), help="Centre for ours.")
@click.option("--epsilon", type=click.FloatRange(0.01, 100), help="Privacy of each clinic in all, for ours.")
@click.option("--method", "methods", multiple=True, type=click.Choice(METHODS), help="Default: all.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=20261128, show_default=True)
@click.option("--curves", type=click.Path(path_type=Path), help="Learning curves, .svg or .png.")
@click.option("--json", "as_json", is_flag=True)
def simulate(
    world: str,
    data: Path | None,
    clinics: int | None,
    buffer: int | None,
    turn_days: float | None,
    methods: tuple[Method, ...],
    seed: int,
    curves: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """SIMULATE a programme of boxes that are often off, beside FedAvg, FedAsync and FedBuff.

    Example: akazuba federate simulate --turn-days 40 --curves curves.svg
    """
    from akazuba.federation import curves as drawing, simulate as sim

    with errors_shown():
        made = _world(world, data, seed, clinics, turn_days)
        weather = sim.Weather(
            days=given["days"], outage=given["outage"], stuck=given["stuck"], stuck_h=given["stuck_hours"]
        )
        plan = sim.Plan(
            weather=weather,
            buffer=buffer or (2 if made.clinics == 4 else min(10, made.clinics)),
            liars=given["liars"],
            lie=given["lie"],
            robust=given["robust"],
            epsilon=given["epsilon"],
        )
        found = [sim.simulate(made, plan, method, seed, _progress(method)) for method in methods or METHODS]
        best = sim.bounds(made, plan, seed)
        if curves is not None:
            drawing.draw(curves, f"{made.name}, {made.clinics} clinics", found, best.pooled)
    facts = _facts(made, plan, seed, found, best)
    show(json.dumps(facts) if as_json else _text(facts))


def _world(name: str, data: Path | None, seed: int, clinics: int | None, turn_days: float | None) -> World:
    from akazuba.errors import InputError
    from akazuba.federation.worlds import Drifting, heart

    if name == "drawn":
        return Drifting(seed, clinics or 40, turn_days or math.inf)
    if data is None:
        raise InputError("--data", "the folder with heart_disease_4site", "none")
    if turn_days is not None:
        raise InputError("--turn-days", "the drawn world: real patients do not drift", name)
    return heart(data, seed, clinics or 4)


def _progress(method: str) -> Any:
    """Tells on stderr how far a method is, where somebody is looking."""
    watched = sys.stderr is not None and sys.stderr.isatty()

    def told(share: float) -> None:
        if watched:
            click.echo(f"\r{method}: {share:4.0%}", nl=share >= 1, err=True)

    return told


def _facts(world: World, plan: Plan, seed: int, courses: list[Course], best: Bounds) -> dict[str, Any]:
    from dataclasses import asdict

    from akazuba.federation.simulate import final, reached

    target = 0.95 * best.pooled
    methods = {}
    for course in courses:
        point = reached(course.points, target)
        methods[course.method] = {
            "accuracy": final(course.points),
            "worst_site": course.points[-1].worst,
            "hours_to_95_percent_of_pooled": point.at_h if point else None,
            "uploads_to_95_percent_of_pooled": point.uploads if point else None,
            "versions": course.versions,
            "uploads": course.uploads,
            "curve": [[p.at_h, p.accuracy] for p in course.points],
        }
        if course.method == "ours":
            methods[course.method] |= {
                "half_life_h": course.half_life_h,
                "epsilon": course.epsilon_highest or None,
                "delta": plan.delta if plan.epsilon else None,
                "noise_multiplier": course.noise_multiplier,
                "refused_for_want_of_budget": course.refused,
            }
    return {
        "simulated": world.simulated,
        "world": world.name,
        "clinics": world.clinics,
        "pooled": best.pooled,
        "local": best.local,
        "methods": methods,
        "assumed": asdict(plan),
        "seed": seed,
    }


def _text(facts: dict[str, Any]) -> str:
    head = f"{facts['world']}, {facts['clinics']} clinics, {facts['assumed']['weather']['days']:g} days"
    lines = [
        f"SIMULATED ({facts['simulated']}): {head}, seed {facts['seed']}.",
        f"one model on everybody's cases: {facts['pooled']:.3f}; each clinic alone: {facts['local']:.3f}",
        f"{'':<16}{'accuracy':>9}{'worst site':>12}{'95 % of pooled':>16}{'uploads':>9}{'versions':>10}",
    ]
    for name, found in facts["methods"].items():
        hours = found["hours_to_95_percent_of_pooled"]
        reached = "never" if hours is None else f"{hours:.0f} h"
        lines.append(
            f"{name:<16}{found['accuracy']:>9.3f}{found['worst_site']:>12.3f}{reached:>16}"
            f"{found['uploads']:>9}{found['versions']:>10}"
        )
    ours = facts["methods"].get("ours")
    if ours:
        lines.append(f"ours: half-life in the end {ours['half_life_h']:.0f} h")
    if ours and ours["epsilon"]:
        spent = f"epsilon {ours['epsilon']:.2f} at delta {ours['delta']:g} for who took part most"
        refused = f"{ours['refused_for_want_of_budget']} updates refused for want of budget"
        lines.append(f"ours: {spent}, noise multiplier {ours['noise_multiplier']:.2f}, {refused}")
    return "\n".join(lines)
