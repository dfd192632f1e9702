"""Names in certificates, TLS contexts, and a certificate authority for trials (never for patients' data).

TLS 1.3 only, both sides show a certificate of the one authority. An SAE's or KME's id is the common name, or
where there is none the only name in subjectAltName.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from akazuba.errors import InputError, why_not_opened

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

    Authority = tuple[EllipticCurvePrivateKey, Certificate]

TRIAL = "TRIAL ONLY"
AUTHORITY = "ca.crt.pem"


def name_of(certificate: Mapping[str, object] | None) -> str | None:
    """certificate: as `ssl.SSLSocket.getpeercert` gives it, that is, verified."""
    subject = (certificate or {}).get("subject", ())
    common = [value for part in _pairs(subject) for name, value in _pairs(part) if name == "commonName"]
    others = [value for _, value in _pairs((certificate or {}).get("subjectAltName", ()))]
    names = [name for name in (common or others) if isinstance(name, str)]
    return names[0] if len(names) == 1 else None


def _pairs(value: object) -> Sequence[tuple[object, ...]]:
    return value if isinstance(value, tuple) else ()


def server_context(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """Raises InputError."""
    return _context(ssl.PROTOCOL_TLS_SERVER, certificate, key, authority)


def client_context(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """Raises InputError."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, certificate, key, authority)


def _context(protocol: int, certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(protocol)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    try:
        made.load_verify_locations(authority)
        made.load_cert_chain(certificate, key)
    except OSError as problem:
        item = f"{certificate}, {key}, {authority}"
        raise InputError(
            item, "a certificate, its key and an authority", why_not_opened(problem)
        ) from problem
    return made


def make_trial_authority(
    folder: Path,
    kmes: Sequence[str],
    saes: Sequence[str],
    link: str,
    now: datetime,
    *,
    hosts: Sequence[str] = ("127.0.0.1", "localhost"),
    days: int = 30,
) -> Authority:
    """Writes `ca.crt.pem` and for each name NAME.crt.pem and NAME.key.pem (mode 0600). The authority is
    returned, its key is on no disk. Raises InputError when a file is there already or cannot be written.
    """
    key, authority = issued(f"Akazuba {TRIAL} {now:%Y-%m-%d}", now, days, None)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / AUTHORITY, pem(authority), 0o644)
        for name in (*kmes, *saes, link):
            served = hosts if name in kmes else ()
            own, certificate = issued(name, now, days, (key, authority), served)
            _write(folder / f"{name}.crt.pem", pem(certificate), 0o644)
            _write(folder / f"{name}.key.pem", private_pem(own), 0o600)
    except OSError as problem:
        found = f"{problem.filename or folder} ({why_not_opened(problem)})"
        raise InputError(str(folder), "a folder in which new files can be made", found) from problem
    return key, authority


def _write(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:
        file.write(content)


def pem(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def private_pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization as to

    return key.private_bytes(to.Encoding.PEM, to.PrivateFormat.PKCS8, to.NoEncryption())


def issued(
    name: str,
    now: datetime,
    days: int,
    issuer: Authority | None,
    hosts: Sequence[str] = (),
) -> Authority:
    """A key and its certificate. issuer: None makes an authority. hosts: where it may serve; without any it
    is a client's.
    """
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, TRIAL),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    signing_key, signing_name = (issuer[0], issuer[1].subject) if issuer else (key, subject)
    usage = [issuer is None, issuer is not None]  # whether it signs certificates, or handshakes
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signing_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=usage[0], path_length=0 if usage[0] else None), critical=True)
        .add_extension(
            x509.KeyUsage(usage[1], False, False, False, False, usage[0], usage[0], False, False),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False
        )
    )
    if issuer is not None:
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if hosts:
            purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
            names: list[x509.GeneralName] = [
                x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
                for host in hosts
            ]
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        made = made.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return key, made.sign(signing_key, SHA256())
