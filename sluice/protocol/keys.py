"""CURVE keys in files, of two formats that can be mixed.

`sluice keys` writes two lines, `public = "..."` and `secret = "..."`, and the public key alone as `NAME.pub`. Helm,
openssl and cert-manager make ed25519 keys in PEM instead. A CURVE key is derived from such a key: both are points of
the same curve, in two notations.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import zmq
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from zmq.utils import z85

from sluice.errors import ConfigurationError

KEY_LENGTH: Final = 40
PEM: Final = "-----BEGIN"
CERTIFICATE: Final = "-----BEGIN CERTIFICATE"
PRIME: Final = 2**255 - 19


@dataclass(frozen=True, repr=False)
class KeyPair:
    """One process's keys, as Z85 text."""

    public: bytes
    secret: bytes


def make_keys(path: Path) -> KeyPair:
    """Write a new key file that only its owner can read, and its public half as `NAME.pub`."""
    public, secret = zmq.curve_keypair()
    shown = path.with_name(path.name + ".pub")
    for file in (path, shown):
        if file.exists():
            raise ConfigurationError(f"{file} exists: name another file, or remove it if nobody uses that key any more")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as secretly:
        secretly.write(f'public = "{public.decode()}"\nsecret = "{secret.decode()}"\n')
    shown.write_text(f'public = "{public.decode()}"\n', encoding="ascii")
    return KeyPair(public, secret)


def read_keys(path: Path) -> KeyPair:
    """Read a key file: of `sluice keys`, or an ed25519 private key in PEM."""
    text = _text(path)
    if PEM in text:
        secret = z85.encode(_secret_of_pem(text, path))
        return KeyPair(zmq.curve_public(secret), secret)
    return KeyPair(_key(text, "public", path), _key(text, "secret", path))


def read_public(path: Path) -> bytes:
    """Read a public key: of `sluice keys`, or an ed25519 one in PEM, bare or in a certificate."""
    text = _text(path)
    return bytes(z85.encode(_public_of_pem(text, path))) if PEM in text else _key(text, "public", path)


def read_server(setting: str) -> bytes:
    """Return the producers' public key from SLUICE_CURVE_SERVER: the key itself, or the path of its .pub file."""
    # A key may contain any of a path's characters; one in 50 million keys ends like a path.
    if len(setting) == KEY_LENGTH and setting.isascii() and not setting.endswith(".pub"):
        return setting.encode()
    try:
        return read_public(Path(setting))
    except ConfigurationError as error:
        raise ConfigurationError(
            f"SLUICE_CURVE_SERVER is neither the 40 characters of a public key nor a .pub file: {error}"
        ) from error


def _secret_of_pem(text: str, path: Path) -> bytes:
    """Hash the seed as ed25519 does before it signs: the result is the secret scalar in both notations."""
    try:
        key = serialization.load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"{path} holds no private key in PEM without a password: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"{path} holds a private key of another kind: expected ed25519")
    secret = bytearray(hashlib.sha512(key.private_bytes_raw()).digest()[:32])
    secret[0] &= 248
    secret[31] = secret[31] & 127 | 64
    return bytes(secret)


def _public_of_pem(text: str, path: Path) -> bytes:
    """Convert the point from the Edwards curve (y) to the Montgomery curve (u)."""
    try:
        certified = CERTIFICATE in text
        key = (
            x509.load_pem_x509_certificate(text.encode()).public_key()
            if certified
            else serialization.load_pem_public_key(text.encode())
        )
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"{path} holds no certificate or public key in PEM: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigurationError(f"{path} holds a public key of another kind: expected ed25519")
    y = int.from_bytes(key.public_bytes_raw(), "little") % 2**255
    try:
        u = (1 + y) * pow(1 - y, -1, PRIME) % PRIME
    except ValueError:
        raise ConfigurationError(f"{path} holds an invalid public key: make another") from None
    return u.to_bytes(32, "little")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} can't be read as a key: {error}: make one with `sluice keys`") from error


def _key(text: str, name: str, path: Path) -> bytes:
    found = re.search(rf'^{name}\s*=\s*"(\S{{{KEY_LENGTH}}})"\s*$', text, re.MULTILINE)
    if found is None:
        raise ConfigurationError(f"{path} holds no {name} key: make one with `sluice keys`, or give one in PEM")
    return found.group(1).encode()
