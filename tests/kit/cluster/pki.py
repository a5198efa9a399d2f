"""Certificates for tests: a private CA, and what it signs.

In: names, times and a folder. Out: PEM files. Nothing here is trusted by anything outside of a test.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)
LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority whose files are `<folder>/<name>.crt` and `.key`."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"setpoint test {name}")
        now = datetime.now(UTC)
        builder = _builder(self._name, self._name, self._key.public_key(), now - DAY, now + 365 * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.pair = _write(folder / name, self._certificate, self._key)

    @classmethod
    def at(cls, folder: Path, name: str = "ca") -> Self:
        """The authority that was made in that folder before, by another object."""
        found = cls.__new__(cls)
        found.folder, found.pair = folder, Pair(folder / f"{name}.crt", folder / f"{name}.key")
        found._name = _name(f"setpoint test {name}")
        key = serialization.load_pem_private_key(found.pair.key.read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        found._key = key
        return found

    @property
    def certificate(self) -> Path:
        """The file that clients trust."""
        return self.pair.certificate

    def server(self, name: str, *hosts: str, expired: bool = False) -> Pair:
        """A certificate for a server that is reached as any of `hosts` (default: this machine)."""
        now = datetime.now(UTC)
        until = now - DAY if expired else now + 30 * DAY
        return self._issue(name, _name(name), hosts or LOCAL, ExtendedKeyUsageOID.SERVER_AUTH, until)

    def client(self, name: str, common_name: str, *organizations: str) -> Pair:
        """A client certificate; Kubernetes reads user and groups from these names."""
        subject = _name(common_name, *organizations)
        return self._issue(name, subject, (), ExtendedKeyUsageOID.CLIENT_AUTH, datetime.now(UTC) + 30 * DAY)

    def _issue(
        self,
        name: str,
        subject: x509.Name,
        hosts: tuple[str, ...],
        purpose: x509.ObjectIdentifier,
        until: datetime,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        since = min(datetime.now(UTC), until) - 2 * DAY
        builder = _builder(subject, self._name, key.public_key(), since, until)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        if hosts:
            names = x509.SubjectAlternativeName([_host(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        return _write(self.folder / name, builder.sign(self._key, hashes.SHA256()), key)


def key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """A private key and its public half, PEM, for what signs tokens: (private, public)."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    public_file = folder / f"{name}.pub"
    public_file.write_bytes(public)
    return _write_key(folder / f"{name}.key", key), public_file


def _name(common_name: str, *organizations: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, since: datetime, until: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(since).not_valid_after(until)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(stem: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    file = stem.with_name(f"{stem.name}.crt")
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Pair(file, _write_key(stem.with_name(f"{stem.name}.key"), key))


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey) -> Path:
    # SEC1 ("EC PRIVATE KEY") is the one encoding that every reader here, kube-apiserver included, accepts.
    data = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    file.touch(mode=0o600)
    file.write_bytes(data)
    return file
