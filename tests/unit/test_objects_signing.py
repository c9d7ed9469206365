"""Signatures are those that botocore makes of the same request."""

from __future__ import annotations

import time

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sluice.objects.signing import NO_BODY, AwsKeys, RequestSigner, path_of

NOW = 1_800_000_000.0
HOST = "127.0.0.1:7070"
KEYS = [
    "a.jpg",
    "a b/ü 日本 😀.jpg",
    "percent% 100%.jpg",
    "hash#and?question=1&x",
    "back\\slash{}[]^|<>*~",
    "dots..jpg/.b",
]


def botocore_signature(path: str, keys: AwsKeys, now: float) -> str:
    """Return what botocore signs a request with, as `add_auth` does it, but at a moment of our own."""
    signer = S3SigV4Auth(Credentials(keys.access, keys.secret, keys.token or None), "s3", "eu-central-1")
    request = AWSRequest("GET", f"http://{HOST}{path}", headers={"X-Amz-Content-SHA256": NO_BODY})
    request.context["timestamp"] = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    if keys.token:
        request.headers["X-Amz-Security-Token"] = keys.token
    return str(signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("token", ["", "temporary/token=="])
def test_a_request_is_signed_as_botocore_signs_it(key: str, token: str) -> None:
    keys, path = AwsKeys("AKIA", "secret/key", token), f"/bucket/{path_of(key)}"
    signer = RequestSigner(HOST, "eu-central-1")
    for now in (NOW, NOW + 86_400):  # another day has another key
        request = signer.head("GET", path, {"if-match": '"e"'}, keys, now).decode()
        assert f"Signature={botocore_signature(path, keys, now)}\r\n" in request


def test_changed_keys_sign_at_once() -> None:
    signer = RequestSigner(HOST, "eu-central-1")
    for keys in (AwsKeys("one", "first"), AwsKeys("two", "second")):
        request = signer.head("GET", "/b/k", {}, keys, NOW).decode()
        assert f"Signature={botocore_signature('/b/k', keys, NOW)}\r\n" in request
