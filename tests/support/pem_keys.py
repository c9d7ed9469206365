"""Keys in PEM as Helm makes them (genPrivateKey "ed25519", genSelfSignedCertWithKey), and as Kubernetes mounts them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

PKCS8 = serialization.PrivateFormat.PKCS8
PLAIN = serialization.NoEncryption()


def private_pem(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(serialization.Encoding.PEM, PKCS8, PLAIN).decode()


def public_pem(key: Ed25519PrivateKey) -> str:
    """Return the bare public key."""
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, info).decode()


def certificate_pem(key: Ed25519PrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sluice")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, None)
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def mount(folder: Path, **files: str) -> Path:
    """Lay files out as a mounted Secret: links to links to the folder of one version; `_` stands for the dot."""
    version = folder / "..2026_01_01"
    version.mkdir(parents=True)
    (folder / "..data").symlink_to(version.name)
    for name, text in files.items():
        file = name.replace("_", ".")
        (version / file).write_text(text)
        (folder / file).symlink_to(f"..data/{file}")
    return folder


def mount_all(folder: Path, *consumers: str) -> None:
    """Mount a producer's and some consumers' keys, each where it is needed; only the first consumer's is accepted."""
    producer = Ed25519PrivateKey.generate()
    known, *strangers = (Ed25519PrivateKey.generate() for _ in consumers)
    mount(folder / "producer", producer_key=private_pem(producer))
    mount(folder / "clients", consumer_pub=certificate_pem(known))
    for name, key in zip(consumers, (known, *strangers), strict=True):
        mount(folder / name, consumer_key=private_pem(key), producer_pub=certificate_pem(producer))
