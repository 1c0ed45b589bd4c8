"""Certificates for a test: an authority, and what it signs for the loopback."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

KEY_PASSWORD = "k3y-c4n4ry"


def make(folder: Path) -> None:
    """Write ca.pem, broker.pem and expired.pem (key, certificate), client.pem and client.key.

    The key of the client is encrypted.
    """
    authority = ec.generate_private_key(ec.SECP256R1())
    issuer = _name("callwatch test authority")
    root = _signed(issuer, authority, issuer, authority, authority=True)
    (folder / "ca.pem").write_bytes(_pem(root))
    for name in ("broker", "expired", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        days = -0.02 if name == "expired" else 1.0
        certificate = _pem(_signed(_name(name), key, issuer, authority, days=days))
        if name != "client":
            (folder / f"{name}.pem").write_bytes(_key(key, None) + certificate)
        else:
            (folder / "client.pem").write_bytes(certificate)
            (folder / "client.key").write_bytes(_key(key, KEY_PASSWORD.encode()))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _signed(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    by: ec.EllipticCurvePrivateKey,
    *,
    authority: bool = False,
    days: float = 1.0,
) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(by, hashes.SHA256())
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key(key: ec.EllipticCurvePrivateKey, password: bytes | None) -> bytes:
    how: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        how = serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
