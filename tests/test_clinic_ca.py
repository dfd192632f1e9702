"""The clinic's own authority: a tablet that trusts it reaches this box and no other site."""

import os
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization as to
from cryptography.hazmat.primitives.asymmetric import ec

from akazuba.errors import ArtefactError, InputError
from akazuba.web import clinic_ca
from akazuba.web.clinic_ca import Certificates, certificates

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def _shaken(made: Certificates, called: str) -> None:
    """A handshake in memory, as a tablet that trusts the authority does it. Raises ssl.SSLError."""
    server, client = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ssl.create_default_context(cafile=made.authority),
    )
    server.load_cert_chain(made.certificate, made.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=called),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(ends)
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    assert not waiting


@pytest.mark.parametrize("called", ["akazuba.local", "192.168.7.2", "localhost"])
def test_a_tablet_that_trusts_the_authority_reaches_the_box(tmp_path: Path, called: str) -> None:
    _shaken(certificates(tmp_path, ["akazuba.local", "192.168.7.2", "localhost"]), called)


def test_another_name_is_not_the_box(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        _shaken(certificates(tmp_path, ["akazuba.local"]), "other.local")


def test_the_authority_speaks_for_no_other_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever steals its key still cannot be a bank to the tablets."""
    certificates(tmp_path, ["akazuba.local"])
    folder = tmp_path / clinic_ca.FOLDER
    ca_key = to.load_pem_private_key((folder / "clinic-ca.key.pem").read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    ca = x509.load_pem_x509_certificate((folder / "clinic-ca.crt.pem").read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    stolen = clinic_ca._server(
        "bank.example", [x509.DNSName("bank.example")], key, ca, ca_key, datetime.now(UTC)
    )
    (folder / "server.crt.pem").write_bytes(stolen.public_bytes(to.Encoding.PEM))
    (folder / "server.key.pem").write_bytes(clinic_ca._pem(key))
    found = Certificates(folder / "clinic-ca.crt.pem", folder / "server.crt.pem", folder / "server.key.pem")
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        _shaken(found, "bank.example")


def test_a_certificate_is_kept_until_it_ends_soon(tmp_path: Path) -> None:
    first = certificates(tmp_path, ["akazuba.local"], NOW).certificate.read_bytes()
    authority = (tmp_path / clinic_ca.FOLDER / "clinic-ca.crt.pem").read_bytes()
    assert (
        certificates(tmp_path, ["akazuba.local"], NOW + timedelta(days=300)).certificate.read_bytes() == first
    )
    renewed = certificates(tmp_path, ["akazuba.local"], NOW + timedelta(days=380))
    assert renewed.certificate.read_bytes() != first
    assert renewed.authority.read_bytes() == authority


def test_a_new_name_gets_a_new_certificate(tmp_path: Path) -> None:
    first = certificates(tmp_path, ["akazuba.local"], NOW).certificate.read_bytes()
    assert certificates(tmp_path, ["akazuba.local", "10.0.0.9"], NOW).certificate.read_bytes() != first


def test_keys_are_readable_by_the_box_only(tmp_path: Path) -> None:
    made = certificates(tmp_path, ["akazuba.local"])
    for path in (made.key, tmp_path / clinic_ca.FOLDER / "clinic-ca.key.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_exchanged_authority_is_told_and_nothing_is_overwritten(tmp_path: Path) -> None:
    made = certificates(tmp_path, ["akazuba.local"])
    other = certificates(tmp_path / "other", ["akazuba.local"])
    made.authority.write_bytes(other.authority.read_bytes())
    with pytest.raises(ArtefactError, match="the certificate of the key beside it"):
        certificates(tmp_path, ["akazuba.local"])
    assert made.authority.read_bytes() == other.authority.read_bytes()
    made.authority.write_bytes(b"rubbish")
    with pytest.raises(ArtefactError, match="the clinic's authority"):
        certificates(tmp_path, ["akazuba.local"])


def test_a_name_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="host: expected a name or an address"):
        certificates(tmp_path, ["été"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ArtefactError, match="a folder for certificates"):
        certificates(tmp_path, ["akazuba.local"])
