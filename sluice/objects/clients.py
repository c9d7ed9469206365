"""The clients of one bucket: created at the first use, closed after the last read.

If they can't be created (no credentials yet, a wrong region, a refused role), the cause is the process's configuration
and may be temporary: SourceError is raised, and the next use tries again.
"""

from __future__ import annotations

import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.store import S3Store

from sluice.errors import ConfigurationError, SourceError
from sluice.objects.aws import AWS_ERRORS, is_aws, open_s3, open_session
from sluice.objects.closing import ClosedAfterReads
from sluice.objects.direct import DirectClient
from sluice.objects.signing import AwsKeys
from sluice.settings import Settings

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_s3 import S3Client

CREDENTIALS_TTL: Final = timedelta(minutes=5)
CONNECT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class OpenClients:
    """boto3's client, and the faster ones that are enabled."""

    boto: S3Client
    store: S3Store | None = None
    direct: DirectClient | None = None
    """None as well where a proxy is between: it speaks to S3 itself."""


class BucketClients:
    """The clients of a bucket, and the threads that wait for boto3."""

    def __init__(self, bucket: str, settings: Settings) -> None:
        self._bucket = bucket
        self._settings = settings
        self._opening = threading.Lock()
        self._opened: OpenClients | None = None
        self._failures = 0
        self._failure = ""
        self.reads = ClosedAfterReads(f"bucket {bucket}", self._let_go)
        # Reads have their own threads, so that a slow bucket can't block the ledger's.
        self.threads = ThreadPoolExecutor(settings.fetch_concurrency, thread_name_prefix="s3")

    @property
    def opened(self) -> OpenClients | None:
        """Return the clients if they are created."""
        return self._opened

    def open(self) -> OpenClients:
        """Return the clients; create them if necessary. Blocks: call it in a thread."""
        failures = self._failures
        with self._opening:
            if self._opened is not None:
                return self._opened
            if self.reads.is_closed:
                raise self.reads.gone()
            if failures != self._failures:  # another thread has just failed
                raise SourceError(self._failure)
            try:
                self._opened = self._make()
            except (ConfigurationError, *AWS_ERRORS) as error:
                self._failures += 1
                self._failure = (
                    f"bucket {self._bucket} can't be reached by this process: {error}: "
                    "check its credentials, and its settings (SLUICE_S3_*, AWS_*)"
                )
                raise SourceError(self._failure) from error
            return self._opened

    def close(self) -> None:
        """Close connections and threads after the reads in progress."""
        self.reads.close()

    def _let_go(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)
        with self._opening:
            opened, self._opened = self._opened, None
        if opened:
            opened.boto.close()
            if opened.direct is not None:
                opened.direct.close()

    def _make(self) -> OpenClients:
        session = open_session(self._settings)
        if session.get_credentials() is None:
            raise ConfigurationError("no AWS credentials are found")
        client = open_s3(session, self._settings)
        region = self._region(client)
        if region and region != client.meta.region_name:
            client = open_s3(session, self._settings, region)
        if self._settings.s3_client == "boto3":
            return OpenClients(client)
        store = self._store(client, Boto3CredentialProvider(session, ttl=CREDENTIALS_TTL))
        if self._settings.s3_client == "obstore" or get_environ_proxies(client.meta.endpoint_url):
            return OpenClients(client, store)
        return OpenClients(client, store, self._direct(client, session))

    def _direct(self, client: S3Client, session: boto3.Session) -> DirectClient:
        # The certificates that boto3 trusts.
        bundle = get_cert_path(session._session.get_config_variable("ca_bundle") or True)  # noqa: SLF001 - boto3 has no other way
        return DirectClient(
            self._url(client, in_path=True),
            client.meta.region_name,
            lambda: _keys_of(session),
            context=ssl.create_default_context(cafile=bundle),
            timeout=self._settings.s3_timeout,
        )

    def _region(self, client: S3Client) -> str | None:
        """Ask AWS for the bucket's region: boto3 follows a redirect, obstore doesn't."""
        if not is_aws(client.meta.endpoint_url):
            return None
        try:
            return client.head_bucket(Bucket=self._bucket).get("BucketRegion")
        except (ClientError, BotoCoreError):
            return None  # the first listing or read says what is wrong

    def _store(self, client: S3Client, credentials: Boto3CredentialProvider) -> S3Store:
        timeout = timedelta(seconds=self._settings.s3_timeout)
        endpoint = client.meta.endpoint_url
        credentials.config = {}
        return S3Store(
            self._bucket,
            endpoint=self._url(client, in_path=False),
            region=client.meta.region_name,
            virtual_hosted_style_request=self._is_virtual(client),
            credential_provider=credentials,
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": min(timeout, timedelta(seconds=CONNECT_SECONDS)),
                "read_timeout": timeout,
                "timeout": timeout * 6,
            },
            retry_config={"max_retries": 1, "retry_timeout": timeout},
        )

    def _is_virtual(self, client: S3Client) -> bool:
        """Return whether the bucket is in the host's name, as AWS wants it."""
        # AWS's certificate doesn't cover bucket names with a dot.
        return is_aws(client.meta.endpoint_url) and "." not in self._bucket

    def _url(self, client: S3Client, *, in_path: bool) -> str:
        """Return the address with the bucket in the host's name; else it is in the path, if that is wanted."""
        endpoint = client.meta.endpoint_url
        if self._is_virtual(client):
            return endpoint.replace("://", f"://{self._bucket}.", 1)
        return f"{endpoint.rstrip('/')}/{self._bucket}" if in_path else endpoint


def _keys_of(session: boto3.Session) -> AwsKeys:
    """Return the keys that boto3 would sign with now."""
    found = session.get_credentials()
    if found is None:
        raise ConfigurationError("no AWS credentials are found")
    frozen = found.get_frozen_credentials()
    return AwsKeys(frozen.access_key or "", frozen.secret_key or "", frozen.token or "")
