"""Connects to AWS: boto3's default chain (environment, files, roles, metadata service), plus Sluice's settings."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader, create_loader
from botocore.parsers import ResponseParserError

from sluice.errors import ConfigurationError
from sluice.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

AWS_ERRORS: Final = (ClientError, BotoCoreError, ResponseParserError, ValueError, KeyError, RuntimeError, OSError)
"""What boto3 raises for outside problems: KeyError for nonsense from a metadata service, RuntimeError for expired
credentials, ValueError for an endpoint that isn't a URL, OSError for an unreadable token."""

AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


def open_session(settings: Settings) -> boto3.Session:
    """Return a session with the configured profile, region and role."""
    session = botocore.session.Session(profile=settings.s3_profile or None)
    try:
        session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
        # A listing's page has a thousand unused time stamps; parsing them takes longer than everything else.
        session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_as_it_stands)
        if settings.s3_role:
            _assume(session, settings.s3_role, settings.name)
        return boto3.Session(botocore_session=session, region_name=settings.s3_region or None)
    except BotoCoreError as error:
        raise ConfigurationError(f"{error}: correct SLUICE_S3_PROFILE") from error


@functools.cache
def _loader(data_path: str | None) -> Loader:
    """Return a shared loader of AWS's service descriptions: 12 MB, which each session would otherwise load itself."""
    return create_loader(data_path)


def open_s3(session: boto3.Session, settings: Settings, region: str | None = None) -> S3Client:
    """Return a client whose calls all have a timeout and few retries; callers retry themselves."""
    options: dict[str, Any] = {"s3": {"addressing_style": "path"}} if settings.s3_endpoint else {}
    return session.client(
        "s3",
        endpoint_url=settings.s3_endpoint or None,
        region_name=region or session.region_name or "us-east-1",
        config=Config(
            connect_timeout=min(settings.s3_timeout, 10.0),
            read_timeout=settings.s3_timeout,
            retries={"mode": "standard", "max_attempts": 2},
            max_pool_connections=settings.fetch_concurrency + 4,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            **options,
        ),
    )


def open_sqs(session: boto3.Session, settings: Settings, queue: str, wait: int) -> SQSClient:
    """Return a client for the queue's own endpoint, patient enough for a long poll of `wait` seconds."""
    host = queue.split("/")[2] if queue.count("/") > 2 else ""  # noqa: PLR2004 - scheme://host/…
    return session.client(
        "sqs",
        endpoint_url=None if is_aws(f"https://{host}") else queue[: queue.index(host) + len(host)],
        region_name=session.region_name or "us-east-1",
        config=Config(
            connect_timeout=min(settings.s3_timeout, 10.0),
            read_timeout=settings.s3_timeout + wait,
            retries={"mode": "standard", "max_attempts": 2},
        ),
    )


def is_aws(endpoint: str) -> bool:
    """Return whether an endpoint is AWS, not another server that speaks S3."""
    host = endpoint.partition("://")[2].partition("/")[0].partition(":")[0]
    return host.endswith(AWS_DOMAINS)


class _Role(CredentialProvider):
    """Credentials of one role, refreshed before they expire."""

    METHOD = "assume-role"
    CANONICAL_NAME = "AssumeRole"

    def __init__(self, session: botocore.session.Session, base: CredentialResolver, role: str, name: str) -> None:
        super().__init__(session)
        self._base = base
        self._role = role
        self._name = "".join(c if c.isalnum() or c in "=,.@-" else "-" for c in name)[:64]

    def load(self) -> DeferredRefreshableCredentials | None:
        source = self._base.load_credentials()
        if source is None:
            return None
        fetcher = AssumeRoleCredentialFetcher(
            client_creator=self.session.create_client,
            source_credentials=source,
            role_arn=self._role,
            extra_args={"RoleSessionName": self._name},
        )
        return DeferredRefreshableCredentials(method=self.METHOD, refresh_using=fetcher.fetch_credentials)


def _assume(session: botocore.session.Session, role: str, name: str) -> None:
    base = session.get_component("credential_provider")
    session.register_component("credential_provider", CredentialResolver([_Role(session, base, role, name)]))


def _as_it_stands(value: object) -> object:
    return value
