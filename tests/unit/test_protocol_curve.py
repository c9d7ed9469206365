from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from zmq.utils import z85

from sluice.errors import ConfigurationError
from sluice.protocol.curve import guard_client
from sluice.protocol.keys import make_keys, read_keys, read_public, read_server
from sluice.settings import read_settings
from tests.support.pem_keys import PKCS8, PLAIN, certificate_pem, mount, private_pem, public_pem


def test_a_key_file_is_for_its_owner_alone_and_reads_back(tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "new" / "consumer")
    assert read_keys(tmp_path / "new" / "consumer") == keys
    assert read_public(tmp_path / "new" / "consumer.pub") == keys.public
    assert stat.S_IMODE((tmp_path / "new" / "consumer").stat().st_mode) == 0o600
    assert keys.secret.decode() not in (tmp_path / "new" / "consumer.pub").read_text()
    assert keys.secret.decode() not in repr(keys)


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    make_keys(tmp_path / "a")
    with pytest.raises(ConfigurationError, match="exists"):
        make_keys(tmp_path / "a")


@pytest.mark.parametrize("text", ["", "public = 5", 'secret = "short"', "\xff"])
def test_what_is_no_key_file_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "a").write_text(text)
    with pytest.raises(ConfigurationError, match="sluice keys"):
        read_keys(tmp_path / "a")


def test_a_consumer_with_a_key_needs_the_servers(tmp_path: Path) -> None:
    make_keys(tmp_path / "a")
    context = zmq.Context()
    with context.socket(zmq.DEALER) as socket:
        with pytest.raises(ConfigurationError, match="SLUICE_CURVE_SERVER"):
            guard_client(socket, read_settings(curve_key=tmp_path / "a"))
        with pytest.raises(ConfigurationError, match="40 characters"):
            guard_client(socket, read_settings(curve_key=tmp_path / "a", curve_server="x"))
    context.term()


@pytest.fixture
def ed25519() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.mark.parametrize("give_away", [certificate_pem, public_pem])
@pytest.mark.parametrize("attempt", range(20))
def test_both_halves_of_an_ed25519_key_become_one_curve_pair(
    tmp_path: Path, attempt: int, give_away: Callable[[Ed25519PrivateKey], str]
) -> None:
    """The public key computed from the certificate equals the one that ZeroMQ computes from the secret key."""
    del attempt
    ed25519 = Ed25519PrivateKey.generate()
    folder = mount(tmp_path / "keys", a_key=private_pem(ed25519), a_pub=give_away(ed25519))
    pair = read_keys(folder / "a.key")
    assert read_public(folder / "a.pub") == pair.public == zmq.curve_public(pair.secret)
    assert len(pair.public) == 40


def test_a_pem_key_is_the_one_of_other_programs(tmp_path: Path) -> None:
    """The example is from libsodium's tests of crypto_sign_ed25519_*_to_curve25519."""
    seed = bytes.fromhex("421151a459faeade3d247115f94aedae42318124095afabe4d1451a559faedee")
    folder = mount(tmp_path / "keys", a_key=private_pem(Ed25519PrivateKey.from_private_bytes(seed)))
    pair = read_keys(folder / "a.key")
    assert z85.decode(pair.secret).hex() == "8052030376d47112be7f73ed7a019293dd12ad910b654455798b4667d73de166"
    assert z85.decode(pair.public).hex() == "f1814f0e8ff1043d8a44d25babff3cedcae6c22c3edaa48f857ae70de2baae50"


def test_pem_of_another_kind_is_said(tmp_path: Path, ed25519: Ed25519PrivateKey) -> None:
    locked = serialization.BestAvailableEncryption(b"secret")
    files = {
        "x.key": X25519PrivateKey.generate().private_bytes(serialization.Encoding.PEM, PKCS8, PLAIN),
        "locked.key": ed25519.private_bytes(serialization.Encoding.PEM, PKCS8, locked),
        "swapped.key": certificate_pem(ed25519).encode(),
        "cut.key": private_pem(ed25519)[:60].encode(),
        "x.pub": X25519PrivateKey.generate()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        "swapped.pub": private_pem(ed25519).encode(),
        "cut.pub": certificate_pem(ed25519)[:100].encode(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigurationError, match=name) as raised:
            (read_keys if name.endswith(".key") else read_public)(tmp_path / name)
        assert "PEM" in str(raised.value) or "ed25519" in str(raised.value)


def test_a_point_that_is_nobodys_key_is_refused(tmp_path: Path) -> None:
    point = Ed25519PublicKey.from_public_bytes((1).to_bytes(32, "little"))
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "a.pub").write_bytes(point.public_bytes(serialization.Encoding.PEM, info))
    with pytest.raises(ConfigurationError, match="invalid public key"):
        read_public(tmp_path / "a.pub")


def test_the_server_is_forty_characters_or_a_file(tmp_path: Path, ed25519: Ed25519PrivateKey) -> None:
    keys = make_keys(tmp_path / "a")
    (tmp_path / "b.pub").write_text(certificate_pem(ed25519))
    assert read_server(keys.public.decode()) == read_server(str(tmp_path / "a.pub")) == keys.public
    assert read_server(str(tmp_path / "b.pub")) == read_public(tmp_path / "b.pub")
    for wrong in (str(tmp_path / "absent.pub"), "short", "ä" * 40, "\0" * 3, "x" * 5000):
        with pytest.raises(ConfigurationError, match="SLUICE_CURVE_SERVER"):
            read_server(wrong)
