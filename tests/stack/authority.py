"""Certificates for a test: an authority of its own, and what it signs."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Authority:
    """Signs certificates for loopback; everything lies in ``folder`` as PEM files."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        own = self._builder(self._name, self._key).add_extension(constraints, critical=True)
        self.file = self._write(f"{name}.pem", own.sign(self._key, hashes.SHA256()))
        self.key = self._write_key(name, self._key)

    def issue(self, name: str, *, organisation: str = "", addresses: Sequence[str] = ()) -> tuple[Path, Path]:
        """The files of a new certificate for 127.0.0.1, localhost and more IP addresses, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        at = [x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", *addresses)]
        names = [x509.DNSName("localhost"), *at]
        of = [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organisation)] if organisation else []
        subject = x509.Name([*of, x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        made = self._builder(subject, key).add_extension(x509.SubjectAlternativeName(names), critical=False)
        name = name.replace(":", "-")
        return self._write(f"{name}.pem", made.sign(self._key, hashes.SHA256())), self._write_key(name, key)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        made = x509.CertificateBuilder(issuer_name=self._name, subject_name=subject, public_key=key.public_key())
        made = made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(minutes=5))
        return made.not_valid_after(now + timedelta(days=2))

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        file = self.folder / name
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return file

    def _write_key(self, name: str, key: ec.EllipticCurvePrivateKey) -> Path:
        file = self.folder / f"{name}.key"
        form = serialization.PrivateFormat.PKCS8
        file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        file.chmod(0o600)
        return file
