"""The real thing on loopback: SuperLink with TLS and node keys, two gateways as SuperNodes, six terminals."""

import datetime
import ipaddress
import os
import socket
import threading
import time
from contextlib import ExitStack, closing
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from akazuba.diagnosis.network import Network
from akazuba.federation import deployment
from akazuba.federation.coordinator import FILE as COORDINATOR_FILE, Coordinator
from akazuba.federation.folding import Rules
from akazuba.federation.gateway import FILE, Gateway
from akazuba.federation.outbox import Outbox
from akazuba.federation.sending import Sender
from akazuba.federation.terminal import OwnCases, Training, train
from akazuba.federation.updates import released
from akazuba.privacy.keys.enrolment import Role, enrol, request, requested
from akazuba.privacy.keys.identity import Identity, new_identity
from akazuba.privacy.keys.store import KeyStore

WITHIN_S = 240.0


def now() -> int:
    return int(time.time())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def pem(key: ec.EllipticCurvePrivateKey, form: serialization.PrivateFormat) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def certificates(folder: Path) -> deployment.Tls:
    """An authority, the SuperLink's certificate, and the gateways' node keys."""
    today = datetime.datetime.now(datetime.UTC)
    key, own = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])

    def builder(subject: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        made = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
        return (
            x509.CertificateBuilder()
            .subject_name(made)
            .issuer_name(name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(today - datetime.timedelta(1))
            .not_valid_after(today + datetime.timedelta(30))
        )

    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    authority = (
        builder("test authority", key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    server = (
        builder("localhost", own.public_key())
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    nodes = folder / "nodes"
    nodes.mkdir(parents=True)
    (folder / "ca.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (folder / "sl.pem").write_bytes(server.public_bytes(serialization.Encoding.PEM))
    (folder / "sl.key").write_bytes(pem(own, serialization.PrivateFormat.TraditionalOpenSSL))
    for gateway in ("north", "south"):
        node = ec.generate_private_key(ec.SECP384R1())
        (folder / gateway).write_bytes(pem(node, serialization.PrivateFormat.OpenSSH))
        (folder / gateway).chmod(0o600)
        public = node.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        (nodes / f"{gateway}.pub").write_bytes(public)
    return deployment.Tls(folder / "sl.pem", folder / "sl.key", folder / "ca.pem", nodes)


def programme(folder: Path) -> list[Identity]:
    """Key stores of coordinator and gateways that believe all; the terminals' identities."""
    authority, posts = new_identity(os.urandom), [new_identity(os.urandom) for _ in range(6)]
    with ExitStack() as stack:
        stores = {
            name: stack.enter_context(closing(KeyStore(folder / name / "keys.sqlite3", now)))
            for name in ("coordinator", "north", "south", "posts")
        }
        roles: list[tuple[Identity, str, Role]] = [
            (stores["coordinator"].identity(), "coordinator", "coordinator"),
            (stores["north"].identity(), "north", "gateway"),
            (stores["south"].identity(), "south", "gateway"),
            *((post, f"post {place}", "terminal") for place, post in enumerate(posts)),
        ]
        given = []
        for serial, (identity, name, role) in enumerate(roles, start=1):
            asked = requested(request(identity, "test", name, role, now()), "test", now())
            given.append(enrol(authority, "test", asked, serial, now()))
        for store in stores.values():
            store.join("test", authority.public)
            registry = store.registry()
            for one in given:
                store.believe(registry, "enrolment", one)
    return posts


@pytest.mark.enable_socket
@pytest.mark.skipif(find_spec("flwr") is None, reason="takes the extra `federation`")
def test_six_terminals_and_two_gateways_make_a_version_through_flower(tmp_path: Path) -> None:
    posts, tls = programme(tmp_path), certificates(tmp_path / "certificates")
    home, port, said = tmp_path / "coordinator", free_port(), list[str]()
    deployment.write_connection(home, f"127.0.0.1:{port}", tls)
    config: dict[str, deployment.Value] = {"home": str(home), "features": 3, "classes": 2, "hidden": 0}
    config |= {
        "meaning": bytes(range(32)).hex(),
        "buffer": 6,
        "robust": "",
        "epsilon": 0.0,
        "delta": 1e-6,
        "participations": 1,
    }
    deployment.write_app(tmp_path / "app", config | {"versions": 1, "seconds": WITHIN_S})
    with ExitStack() as stack:
        stack.enter_context(deployment.superlink(home, "127.0.0.1", port, tls))
        # The run is sent while the nodes are still being enrolled: it waits for them, and both take seconds.
        run = ["run", str(tmp_path / "app"), "own", "--stream"]
        thread = threading.Thread(target=lambda: said.append(deployment.flwr(home, run)[1]))
        thread.start()
        assert deployment.register(home, tls.nodes) == ["north.pub", "south.pub"]
        for name in ("north", "south"):
            command = deployment.supernode(
                tmp_path / name,
                f"127.0.0.1:{port}",
                tls.authority,
                tmp_path / "certificates" / name,
                free_port(),
            )
            stack.enter_context(deployment.child(command, tmp_path / name, tmp_path / f"{name}.log"))
        _terminals_send(tmp_path, posts)
        thread.join(WITHIN_S)
    assert "akazuba version 1: 6 updates" in "".join(said), said
    with closing(KeyStore(home / "keys.sqlite3", now)) as keys:
        again = Coordinator(  # what was left on the disk
            home / COORDINATOR_FILE,
            Rules(buffer=6),
            Network(3).start(0),
            keys.identity(),
            keys.registry(),
            now,
            os.urandom,
        )
        with closing(again):
            assert (again.folding.version, again.counted()) == (1, 6)
            assert released(again.release(), keys.registry(), now()).meaning == bytes(range(32))
            inputs = np.random.default_rng(9).normal(size=(500, 3)).astype(np.float32)
            right = (inputs[:, 0] > 0).astype(np.int64)
            assert Network(3).accuracy(again.folding.model, inputs, right) > 0.9


def _terminals_send(folder: Path, posts: list[Identity]) -> None:
    """Three terminals at each gateway, each as soon as the gateway has a model."""
    until = time.monotonic() + WITHIN_S
    with closing(KeyStore(folder / "posts" / "keys.sqlite3", now)) as keys:
        registry = keys.registry()
    for place, name in enumerate(("north", "south")):
        with closing(KeyStore(folder / name / "keys.sqlite3", now)) as keys:
            opened = Gateway(folder / name / FILE, keys.identity(), registry, now)
        with closing(opened):
            while (data := opened.model()) is None:
                assert time.monotonic() < until, "no model reached the gateway"
                time.sleep(0.5)
            for number, post in enumerate(posts[3 * place : 3 * place + 3]):
                inputs = np.random.default_rng([place, number]).normal(size=(60, 3)).astype(np.float32)
                cases = OwnCases(inputs, (inputs[:, 0] > 0).astype(np.int64), 0)
                with closing(Outbox(folder / f"outbox {place} {number}", now)) as outbox:
                    train(outbox, post, released(data, registry, now()), Network(3), cases, Training(), now)
                    assert Sender(outbox, post, registry, now).send_all(opened).accepted == 1
