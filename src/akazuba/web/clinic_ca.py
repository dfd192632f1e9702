"""The clinic's own certificate authority, for HTTPS on its network without the internet.

A tablet takes in the authority once; the box makes its own server certificate and renews it. The authority
may speak for the box's names and for private addresses only (RFC 5280, name constraints), so that a stolen
key opens no other site to whoever trusts it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization as to
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from akazuba.durable import write_durably
from akazuba.errors import ArtefactError, InputError, why_not_opened

FOLDER = "tls"
AUTHORITY_DAYS, SERVER_DAYS, RENEW_DAYS = 3650, 397, 30
PRIVATE = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")


@dataclass(frozen=True)
class Certificates:
    """authority: the file that a tablet takes in; certificate, key: of this server."""

    authority: Path
    certificate: Path
    key: Path


def certificates(home: Path, hosts: Sequence[str], now: datetime | None = None) -> Certificates:
    """Made or renewed where needed. hosts: names and addresses under which the box is called.

    Raises InputError for a host that is none, ArtefactError for files that are not ours.
    """
    folder, now = home / FOLDER, now or datetime.now(UTC)
    found = Certificates(folder / "clinic-ca.crt.pem", folder / "server.crt.pem", folder / "server.key.pem")
    names = [_name(host) for host in dict.fromkeys(hosts)]
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        ca_key, ca = _authority(folder / "clinic-ca.key.pem", found.authority, hosts, now)
        if not _serves(found, ca, names, now):
            key = ec.generate_private_key(ec.SECP256R1())
            made = _server(hosts[0], names, key, ca, ca_key, now)
            write_durably(found.key, _pem(key))
            write_durably(found.certificate, made.public_bytes(to.Encoding.PEM))
    except OSError as problem:
        raise ArtefactError(str(folder), "a folder for certificates", why_not_opened(problem)) from problem
    return found


def _authority(
    key_path: Path, path: Path, hosts: Sequence[str], now: datetime
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    if path.exists() and key_path.exists():
        try:
            key = to.load_pem_private_key(key_path.read_bytes(), None)
            ca = x509.load_pem_x509_certificate(path.read_bytes())
        except ValueError as problem:
            raise ArtefactError(str(path), "the clinic's authority", str(problem)) from problem
        if isinstance(key, ec.EllipticCurvePrivateKey) and ca.public_key() == key.public_key():
            return key, ca
        raise ArtefactError(str(path), "the certificate of the key beside it", "another one")
    key = ec.generate_private_key(ec.SECP256R1())
    ca = _made_authority(key, hosts, now)
    write_durably(key_path, _pem(key))
    write_durably(path, ca.public_bytes(to.Encoding.PEM))
    os.chmod(path, 0o644)  # noqa: PTH101 - tablets take it in
    return key, ca


def _made_authority(key: ec.EllipticCurvePrivateKey, hosts: Sequence[str], now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Akazuba clinic {now:%Y-%m-%d %H:%M}")])
    allowed: list[x509.GeneralName] = [x509.IPAddress(ip_network(net)) for net in PRIVATE]
    allowed += [x509.DNSName("local"), x509.DNSName("home.arpa"), x509.DNSName("localhost")]
    allowed += [name for name in map(_name, hosts) if isinstance(name, x509.DNSName)]
    return (
        _dated(name, name, key.public_key(), now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.NameConstraints(allowed, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )


def _server(
    host: str,
    names: Sequence[x509.GeneralName],
    key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    return (
        _dated(subject, ca.subject, key.public_key(), now, SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, SHA256())
    )


def _dated(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _serves(
    found: Certificates, ca: x509.Certificate, names: Sequence[x509.GeneralName], now: datetime
) -> bool:
    """Whether there is a certificate of this authority for these names that lasts long enough."""
    if not (found.certificate.exists() and found.key.exists()):
        return False
    try:
        known = x509.load_pem_x509_certificate(found.certificate.read_bytes())
        known.verify_directly_issued_by(ca)
        there = known.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    lasts = known.not_valid_after_utc - now > timedelta(days=RENEW_DAYS) and known.not_valid_before_utc <= now
    return lasts and set(names) <= set(there)


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as problem:
        raise InputError("host", "a name or an address", repr(host[:80])) from problem


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(to.Encoding.PEM, to.PrivateFormat.PKCS8, to.NoEncryption())
