"""Settings: frozen, read once from ``ADASLIDE_*`` and passed in. docs/settings.md is their table.

Groups are joined to their fields by two underscores: ``ADASLIDE_SERVING__PORT=8001``. A name that
is not a setting refuses to start, because a misspelt limit is a limit that is not there.
"""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from adaslide.domain.errors import InputError

PREFIX = "ADASLIDE_"


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Serving(_Group):
    """Where the service listens."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    """0 takes any free port."""
    allow_remote: bool = False
    """Without it the service refuses to listen beyond this machine: it knows no users yet."""

    @property
    def loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @model_validator(mode="after")
    def _stay_on_this_machine(self) -> Self:
        if not (self.loopback or self.allow_remote):
            raise ValueError(
                "this address reaches beyond this machine; set ADASLIDE_SERVING__ALLOW_REMOTE=true"
            )
        return self


class Limits(_Group):
    """What one caller may ask for."""

    upload_bytes: int = Field(64 * 2**30, ge=1)
    region_pixels: int = Field(4096 * 4096, ge=1)
    decode_threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    """Requests that decode at the same time."""
    decode_queue: int = Field(128, ge=0)
    """Requests that may wait to decode; those beyond get 503 and Retry-After."""
    open_packages: int = Field(16, ge=1)
    """Packages whose indices stay in memory."""
    tile_cache_bytes: int = Field(128 * 2**20, ge=0)


class Compression(_Group):
    """How jobs run."""

    workers: int | None = Field(None, ge=1)
    """Processes that encode patches; None lets the machine decide."""
    attempts: int = Field(5, ge=1)
    """Tries of a shard or a job before a passing error becomes final."""
    lease_s: float = Field(60.0, gt=0)
    """Seconds after which the work of a worker that no longer renews its lease is another's."""
    beat_s: float = Field(0.5, gt=0)
    """Seconds between two renewals: how often progress is written and a cancellation looked for."""
    reconcile_s: float = Field(2.0, gt=0)
    """Seconds between two looks for work that no message speaks of."""
    unfinished_jobs: int = Field(10_000, ge=1)
    """Unfinished jobs of all tenants; the next is answered 503 with Retry-After."""
    unfinished_jobs_per_tenant: int = Field(1_000, ge=1)


class DatabaseSettings(_Group):
    """Where state lives."""

    url: str | None = None
    """A SQLAlchemy URL, ``sqlite:`` or ``postgresql+psycopg:``; None is a file in the data folder."""
    migrate: bool = True
    """Brings the database to this version's shape at start. In a cluster `adaslide migrate` does, once."""
    pool: int = Field(8, ge=1)
    """Connections that a process keeps."""

    @field_validator("url")
    @classmethod
    def _known(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("sqlite:", "postgresql+psycopg:")):
            raise ValueError("a database is sqlite:... or postgresql+psycopg:...")
        return url


class Broker(_Group):
    """Who wakes the workers."""

    url: str = "memory://"
    """``memory://`` is the worker inside the service's own process; ``redis://`` (or ``rediss://``) workers
    in processes of their own."""
    queue: str = "adaslide"
    """What the queues' names begin with."""

    @property
    def embedded(self) -> bool:
        return self.url == "memory://"

    @field_validator("url")
    @classmethod
    def _known(cls, url: str) -> str:
        if url != "memory://" and not url.startswith(("redis://", "rediss://")):
            raise ValueError("a broker is memory://, redis://... or rediss://...")
        return url


class Store(_Group):
    """Where slides and packages lie."""

    url: str | None = None
    """``s3://BUCKET/PREFIX``; None is the data folder."""
    endpoint: str | None = None
    """Of the S3 server; None is the provider's own."""
    region: str = "us-east-1"
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    """Without keys boto3 looks where it always does (environment, files, the machine's role)."""
    encryption: Literal["AES256", "aws:kms"] | None = None
    """Asked for with every object that is written."""
    kms_key: SecretStr | None = None
    cache_bytes: int = Field(64 * 2**30, ge=0)
    """Disk that a worker may use for slides it fetched."""
    read_buckets: Annotated[tuple[str, ...], NoDecode] = ()
    """``BUCKET`` or ``BUCKET/PREFIX`` whose slides may be registered by an ``s3://`` URI, comma-separated."""

    @field_validator("read_buckets", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, value.split(","))) if isinstance(value, str) else value

    @field_validator("url")
    @classmethod
    def _known(cls, url: str | None) -> str | None:
        if url is not None and not (url.startswith("s3://") and url.removeprefix("s3://").strip("/")):
            raise ValueError("a store is s3://BUCKET or s3://BUCKET/PREFIX")
        return url


class Telemetry(_Group):
    """What the processes tell about themselves: logs and traces. Never patient data."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Of AdaSlide's own records; other libraries speak from WARNING on."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """``auto`` is text on a terminal and one JSON object per line elsewhere."""
    endpoint: str | None = None
    """Base URL of an OTLP/HTTP collector, to which traces are sent; None sends none."""
    sample: float = Field(1.0, ge=0, le=1)
    """Share of the requests and jobs that are traced, unless a caller's own trace has decided."""

    @field_validator("endpoint")
    @classmethod
    def _known(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and not endpoint.startswith(("http://", "https://")):
            raise ValueError("a collector is http://... or https://...")
        return endpoint.rstrip("/") if endpoint else None


class MetricsSettings(_Group):
    """A second port for Prometheus and for probes, which knows no users: keep it inside."""

    port: int | None = Field(None, ge=0, le=65535)
    """None opens none; 0 takes any free port."""
    host: str = "127.0.0.1"


class Settings(BaseSettings):
    """Everything that can be set; every default works as it stands."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    data_dir: Path = Path("~/.local/share/adaslide")
    allowed_roots: Annotated[tuple[Path, ...], NoDecode] = ()
    """Folders whose slides may be registered in place by a ``file://`` URI."""
    weights: Path | None = None
    """A folder of further weights, with a ``manifest.toml``. Nets are opened by whichever process meets
    a patch that names them, so that it is read from the environment, not handed on from here."""
    serving: Serving = Serving()
    limits: Limits = Limits()
    compression: Compression = Compression()
    database: DatabaseSettings = DatabaseSettings()
    broker: Broker = Broker()
    store: Store = Store()
    telemetry: Telemetry = Telemetry()
    metrics: MetricsSettings = MetricsSettings()

    @field_validator("allowed_roots", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """One text is a list of folders as in PATH."""
        return tuple(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value

    @field_validator("data_dir", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator("allowed_roots", mode="after")
    @classmethod
    def _resolved(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(root.expanduser().resolve() for root in value)

    @property
    def database_url(self) -> str:
        return self.database.url or f"sqlite:///{self.data_dir / 'adaslide.sqlite'}"


def load_settings(**given: Any) -> Settings:
    """Settings of the environment; ``given`` wins. Raises `InputError` for unknown names and bad values."""
    unknown = sorted(
        name
        for name in os.environ
        if name.upper().startswith(PREFIX)
        and name.upper().removeprefix(PREFIX).split("__")[0].lower() not in Settings.model_fields
    )
    if unknown:
        raise InputError(f"unknown settings: {', '.join(unknown)}")
    try:
        return Settings(**given)
    except ValidationError as error:
        wrong = "; ".join(
            f"{PREFIX}{'__'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()
        )
        raise InputError(f"settings refused: {wrong}") from error
