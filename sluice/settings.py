"""All settings of all processes, in one typed table: name, type, default, sentence.

Each is read from the environment variable SLUICE_<NAME>, then from the TOML file that SLUICE_CONFIG names, then from
the default below. `python -m sluice.settings` prints the table in README.md.
"""

from __future__ import annotations

import difflib
import os
import re
import socket
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from sluice import bounds, capacity
from sluice.errors import ConfigurationError

MIB = 1024 * 1024

OTHERS: Final = ("CONFIG", "CACHE")
"""Variables that aren't settings: the path of the TOML file, and the folder for the scripts' downloads."""

OF_TESTS: Final = "SLUICE_TEST_"

# Kubernetes sets such variables in pods for a Service of their namespace that is called sluice-producer.
OF_A_SERVICE: Final = re.compile(
    r"SLUICE_(\w+_)?((SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)=.*|PORT=(tcp|udp|sctp)://.*)"
)

PARTS: Final = {
    "Database": r"database_",
    "S3 and folders": r"s3_|notifications_|object_|archive_|fetch_",
    "Producer": r"shards?$|delivery|inline_|prefetch_|poll_",
    "Consumer": r"decode_|window|image_|cache_|drain_",
    "TorchServe": r"torchserve|batch|requests_",
    "Model store": r"model_|agent_",
    "Trainer": r"trainer_",
    "Gateway": r"gateway_",
    "Drift": r"drift_",
    "Protocol": r"bind|producers|heartbeat|curve_",
    "Names, metrics, logs": r"name|metrics_|log_",
}
"""The sections of README.md's table, and the prefixes of their settings' names."""


def _process_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


class Settings(BaseSettings):
    """All settings; immutable."""

    model_config = SettingsConfigDict(env_prefix="SLUICE_", frozen=True, extra="forbid", validate_default=True)

    # Database
    database_url: SecretStr = Field(
        SecretStr("mysql://sluice@127.0.0.1:3306/sluice"),
        description="MySQL 8.0+ or MariaDB 10.11+: mysql://user:password@host:port/database, %-encoded.",
    )
    database_password: SecretStr | None = Field(
        None, description="The password, if it isn't in the URL (for example from a Kubernetes Secret)."
    )
    database_ca: Path | None = Field(None, description="CA certificate (PEM) to verify the server with; enables TLS.")
    database_timeout: float = Field(10.0, gt=0, description="Seconds to wait for a connection or an answer.")
    database_patience: float = Field(
        30.0, gt=0, description="Seconds to retry a statement before it fails and the process becomes unready."
    )

    # S3 and folders
    s3_endpoint: str | None = Field(None, description="S3 endpoint URL; empty: AWS, or AWS_ENDPOINT_URL.")
    s3_region: str | None = Field(None, description="S3 region; empty: boto3's default chain.")
    s3_profile: str | None = Field(None, description="Profile of ~/.aws/config; empty: boto3's default chain.")
    s3_role: str | None = Field(None, description="ARN of a role to assume with the credentials found.")
    s3_timeout: float = Field(20.0, gt=0, description="Seconds to wait for a connection to S3 or for its next bytes.")
    s3_client: Literal["direct", "obstore", "boto3"] = Field(
        "direct",
        description="Client that fetches objects; direct is the fastest. boto3 does what the others can't.",
    )
    notifications_queue: str | None = Field(
        None, description="URL of an SQS queue with the bucket's event notifications; watch jobs follow it."
    )
    object_max_bytes: int = Field(100 * MIB, gt=0, description="Larger objects are quarantined as too_large.")
    archive_members: int = Field(
        2_000_000, gt=0, description="Members of an archive that are listed, at most; each takes 16 bytes meanwhile."
    )
    archive_bytes: int = Field(
        2**40, gt=0, description="Bytes of an archive's members, unpacked, that are listed at most."
    )
    archive_ratio: int = Field(
        200, gt=0, description="Members above 1 MiB that grow to more times their size are quarantined as member_ratio."
    )

    # Producer
    bind: str = Field("tcp://127.0.0.1:5600", description="Address the producer's ZeroMQ socket listens on.")
    shard: int = Field(0, ge=0, description="This producer's number, from 0.")
    shards: int = Field(1, ge=1, le=64, description="How many producers share the work.")
    delivery: Literal["auto", "inline", "reference"] = Field(
        "auto", description="Send bytes inline, or a reference for the consumer to fetch; auto: by inline_max_bytes."
    )
    inline_max_bytes: int = Field(4 * MIB, gt=0, description="Larger objects are sent as a reference.")
    prefetch_bytes: int = Field(
        64 * MIB, ge=MIB, description="Maximum bytes prefetched, or sent and not received; bounds a producer's memory."
    )
    fetch_concurrency: int = Field(32, ge=1, description="Objects a producer (or a consumer) reads at once.")
    poll_seconds: float = Field(0.5, gt=0, le=1.0, description="Seconds between two looks at the jobs table.")

    # Consumer
    producers: Annotated[tuple[str, ...], NoDecode] = Field(
        ("tcp://127.0.0.1:5600",), description="Addresses of all producer shards, comma-separated."
    )
    torchserve: Annotated[tuple[str, ...], NoDecode] = Field(
        ("http://127.0.0.1:8080",),
        description="TorchServe inference addresses, comma-separated; a name with several addresses counts as several.",
    )
    torchserve_token: SecretStr | None = Field(None, description="Bearer token for TorchServe, if it requires one.")
    torchserve_timeout: float = Field(60.0, gt=0, description="Seconds to wait for one batch's predictions.")
    torchserve_patience: float = Field(
        30.0, gt=0, description="Seconds without any prediction before a consumer gives its work back."
    )
    batch: int = Field(32, ge=1, le=512, description="Maximum images in one request to TorchServe.")
    batch_wait: float = Field(0.05, ge=0, description="Seconds to wait for a batch to fill while more work is coming.")
    requests_in_flight: int = Field(
        default_factory=capacity.requests, ge=1, le=64, description="Concurrent requests of one consumer to TorchServe."
    )
    decode_threads: int = Field(default_factory=capacity.cores, ge=1, description="Threads that decode images.")
    window: int = Field(256, ge=1, le=4096, description="Maximum objects that a consumer holds at once (its credit).")
    window_seconds: float = Field(
        2.0, gt=0, description="The credit follows the consumer's speed: about this many seconds of work."
    )
    image_max_pixels: int = Field(
        64_000_000, gt=0, description="Larger images are quarantined as too_many_pixels; a pixel takes 4 to 21 bytes."
    )
    cache_entries: int = Field(
        10_000, ge=0, description="Predictions cached by content, so that equal bytes are inferred once; 0: off."
    )
    drain_seconds: float = Field(25.0, gt=0, description="Seconds after SIGTERM to finish work; the rest goes back.")

    # Model store
    model_store: str | None = Field(
        None, description="s3://bucket/prefix/ or file:///folder/ that archives of models are published to."
    )
    model_max_bytes: int = Field(
        4 * 1024 * MIB, gt=0, description="Larger archives of models are neither published nor loaded."
    )
    agent_management: str = Field("http://127.0.0.1:8081", description="Management address of the agent's TorchServe.")
    agent_folder: Path = Field(
        Path("/tmp/torchserve"),  # noqa: S108 - of a container, where nobody else writes
        description="That TorchServe's folder: archives go to store/ in it, causes are read from logs/.",
    )
    agent_workers: int | None = Field(None, ge=1, le=64, description="Processes for a published model; empty: chosen.")

    # Trainer
    trainer_pictures: int = Field(200_000, ge=10, description="Pictures of one training, at most; 6 KB of memory each.")
    trainer_bytes: int = Field(512 * MIB, ge=MIB, description="Bytes of pictures that fine-tuning keeps in memory.")
    trainer_keep_days: int = Field(30, ge=1, description="Days that features, and notes of failed trainings, are kept.")
    trainer_features_bytes: int = Field(10 * 2**30, ge=0, description="Bytes of features kept; the oldest go first.")
    trainer_device: str = Field("auto", description="auto: a GPU if there is one; or cpu, cuda, cuda:1.")

    # Gateway
    gateway_bind: str = Field("127.0.0.1:8000", description="Address and port of the pages and the API.")
    gateway_url: str | None = Field(
        None,
        description="Where people reach it (https://sluice.example.com): other names are refused; empty: any name.",
    )
    gateway_store: str | None = Field(
        None, description="s3://bucket/prefix/ that dropped pictures and archives are kept under."
    )
    gateway_keep_days: int = Field(
        90, ge=0, description="Days that dropped pictures and archives are kept; 0: for ever. Results always stay."
    )
    gateway_key: SecretStr | None = Field(
        None, description="Signs sessions and tokens: 32 characters or more, the same for all replicas."
    )
    gateway_anonymous: Literal["none", "viewer", "user"] = Field(
        "none", description="What people who aren't signed in may do: nothing, look, or classify too."
    )
    gateway_signup: Literal["closed", "open"] = Field(
        "closed", description="closed: admins add people; open: anybody can make an account."
    )
    gateway_admin: str = Field("admin@localhost", description="E-mail address of the first admin.")
    gateway_admin_password: SecretStr | None = Field(
        None, description="The first admin's password; used once, when there is no admin yet."
    )
    gateway_classic: bool = Field(default=False, description="Serve the routes of small classifier services too.")
    gateway_sources: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="s3:// prefixes that users may submit jobs on, comma-separated; admins may submit any."
    )
    gateway_files: int = Field(9, ge=1, le=100, description="Pictures in one request, at most.")
    gateway_picture_bytes: int = Field(20 * MIB, gt=0, description="Bytes of one picture, at most.")
    gateway_archive_bytes: int = Field(500 * MIB, gt=0, description="Bytes of one uploaded archive, at most.")
    gateway_queue: int = Field(128, ge=1, description="Pictures at work at once; further ones are told to come back.")
    gateway_queue_bytes: int = Field(128 * MIB, ge=MIB, description="Bytes of those pictures; a bound on its memory.")
    gateway_rate: int = Field(600, ge=0, description="Requests a minute for one person or address; 0: no limit.")
    gateway_answers: int = Field(1_000_000, ge=0, description="Answers kept by content, for all replicas; 0: none.")
    gateway_answers_days: int = Field(30, ge=1, description="Days that an answer is kept.")
    gateway_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Networks of proxies whose X-Forwarded-For and -Proto are believed, comma-separated (10.0.0.0/8).",
    )
    gateway_oidc_issuer: str | None = Field(
        None, description="OpenID Connect: the issuer's URL; turns sign-in by it on."
    )
    gateway_oidc_client: str | None = Field(None, description="OpenID Connect: the client's id.")
    gateway_oidc_secret: SecretStr | None = Field(None, description="OpenID Connect: the client's secret.")

    # Drift
    drift_window: int = Field(
        1000, ge=100, le=1_000_000, description="Pictures of a model that are compared with its reference at once."
    )
    drift_days: int = Field(400, ge=1, description="Days that counts by label and of pictures are kept.")

    # All processes
    name: str = Field(default_factory=_process_name, max_length=64, description="Name of the process in logs and rows.")
    heartbeat: float = Field(2.0, ge=0.1, description="Seconds between PINGs; leases are lost after three missed ones.")
    curve_key: Path | None = Field(
        None, description="This process's CURVE key file (`sluice keys`, or ed25519 in PEM); enables CURVE."
    )
    curve_server: str | None = Field(
        None, description="The producers' CURVE public key, or the path of its .pub file (consumers need it)."
    )
    curve_clients: Path | None = Field(
        None, description="Folder with the .pub files of the consumers that a producer accepts."
    )
    metrics_host: str = Field("127.0.0.1", description="Address of /metrics, /live and /ready.")
    metrics_port: int = Field(0, ge=0, le=65535, description="Port of /metrics, /live and /ready; 0: off.")
    log_format: Literal["console", "json"] = Field("console", description="console for people, json for machines.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Minimum level to log.")

    @field_validator("producers", "torchserve", "gateway_sources", "gateway_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("*")
    @classmethod
    def _bounded(cls, value: object, info: ValidationInfo) -> object:
        return bounds.check(info.field_name or "", value)

    @model_validator(mode="after")
    def _contradictions(self) -> Settings:
        if self.shard >= self.shards:
            raise ValueError(f"SLUICE_SHARD is {self.shard}: with SLUICE_SHARDS={self.shards} it must be less")
        if self.curve_key is None and (self.curve_server or self.curve_clients):
            raise ValueError("SLUICE_CURVE_SERVER or SLUICE_CURVE_CLIENTS is set: set SLUICE_CURVE_KEY too")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take arguments first, then the environment, then the file."""
        del dotenv_settings, file_secret_settings
        config = os.environ.get("SLUICE_CONFIG")
        if config is None:
            return (init_settings, env_settings)
        if not Path(config).is_file():
            raise ConfigurationError(f"SLUICE_CONFIG names {config!r}, which is no file: correct it or unset it")
        try:
            return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=config))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"SLUICE_CONFIG names {config!r}, which is no TOML: {error}") from error

    def shown(self) -> dict[str, Any]:
        """Return the settings that differ from their defaults, for the log line at start; secrets are hidden."""
        return {name: str(getattr(self, name)) for name in sorted(self.model_fields_set)}


def read_settings(**overrides: Any) -> Settings:  # noqa: ANN401 - pydantic checks each value
    """Read the settings, or list what is wrong with them, one per line."""
    given = {name: value for name, value in overrides.items() if value is not None}
    lines = [_unknown(name) for name, value in sorted(os.environ.items()) if _is_misspelt(name.upper(), value)]
    try:
        settings = Settings(**given)
    except ValidationError as error:
        lines += [_line(problem) for problem in error.errors(include_input=False, include_url=False)]
    if lines:
        raise ConfigurationError("settings can't be used:\n  " + "\n  ".join(lines)) from None
    return settings


def _line(problem: ErrorDetails) -> str:
    said = problem["msg"].removeprefix("Value error, ")
    name = f"SLUICE_{problem['loc'][0]}".upper() if problem["loc"] else ""
    return _unknown(name) if problem["type"] == "extra_forbidden" else f"{name}: {said}" if name else said


def _is_misspelt(name: str, value: str) -> bool:
    """Return whether an environment variable looks like a misspelt setting."""
    if not name.startswith("SLUICE_") or name.startswith(OF_TESTS):
        return False
    own = name.removeprefix("SLUICE_")
    if own in OTHERS or own.lower() in Settings.model_fields:
        return False
    return OF_A_SERVICE.fullmatch(f"{name}={value}") is None


def _unknown(name: str) -> str:
    known = [*(field.upper() for field in Settings.model_fields), *OTHERS]
    near = difflib.get_close_matches(name.upper().removeprefix("SLUICE_"), known, 1)
    return f"{name}: there is no such setting" + (f": is SLUICE_{near[0]} meant?" if near else "; README.md lists them")


def markdown_tables() -> str:
    """Return the tables of README.md."""
    return "\n\n".join(f"### {part}\n\n{_table(names)}" for part, names in by_part().items())


def by_part() -> dict[str, list[str]]:
    """Return the names of all settings by the part that they belong to."""
    return {part: [name for name in Settings.model_fields if re.match(begins, name)] for part, begins in PARTS.items()}


def _table(names: list[str]) -> str:
    rows = ["| variable | default | what it sets |", "| --- | --- | --- |"]
    for name in names:
        field = Settings.model_fields[name]
        default = field.get_default()
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        if isinstance(default, tuple):
            default = ",".join(default)
        shown = "" if default is None else f"`{default}`"
        if field.default_factory is not None:
            shown = {"decode_threads": "one a core", "requests_in_flight": "cores + 1"}.get(name, "host-pid")
        rows.append(f"| `SLUICE_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(markdown_tables())  # noqa: T201 - this is the command's output
