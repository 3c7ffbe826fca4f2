"""Settings: frozen, read once from ``ADASLIDE_*`` and passed in. docs/settings.md is their table.

Groups are joined to their fields by two underscores: ``ADASLIDE_SERVING__PORT=8001``. A name that
is not a setting refuses to start, because a misspelt limit is a limit that is not there.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from adaslide.domain.access import TENANT_PATTERN
from adaslide.domain.errors import InputError
from adaslide.settings.group import Group, is_loopback
from adaslide.settings.uploads import UploadSettings
from adaslide.settings.webhooks import Webhooks

PREFIX = "ADASLIDE_"
TOKEN_KEY_CHARS = 32


class Serving(Group):
    """Where the service listens."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    """0 takes any free port."""
    allow_remote: bool = False
    """Listening beyond this machine though nobody has to say who they are: for a container whose port is
    published on this machine's loopback only. The service then answers to loopback names only."""

    @property
    def loopback(self) -> bool:
        return is_loopback(self.host)


class Limits(Group):
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
    """Encoded tiles that stay in memory."""
    patch_cache_bytes: int = Field(64 * 2**20, ge=0)
    """Decoded and restored patches that stay in memory: other formats and regions show them too."""
    deadline_s: float = Field(20.0, gt=0)
    """Seconds after which a tile or region that is not made yet is given up (504)."""


class Restoring(Group):
    """How the API runs the nets that restore patches."""

    threads: int = Field(default_factory=lambda: max(1, (os.cpu_count() or 1) // 2), ge=1)
    """Calls of nets at the same time; the other cores are left to what needs no net."""
    queue: int = Field(64, ge=1)
    """Patches that may wait for a net; those beyond get 503 and Retry-After."""
    batch: int | None = Field(None, ge=1)
    """Patches in one call of a net; None leaves it to the runtime (on a CPU 1: more are no faster)."""
    window_ms: float = Field(2.0, ge=0, le=100)
    """How long a batch that is not full waits for more patches; one of a single patch never waits."""
    prefetch: bool = False
    """Makes the tiles beside a served one while nobody waits for anything."""


class CacheSettings(Group):
    """The tile cache that several API processes share."""

    url: str | None = None
    """``redis://`` or ``rediss://``; None (or ``none``) is no shared cache."""
    entry_bytes: int = Field(2 * 2**20, ge=1)
    """Tiles larger than this are not shared."""
    ttl_s: int = Field(7 * 86_400, ge=1)
    """Seconds after which a shared tile is forgotten."""
    timeout_ms: float = Field(50.0, gt=0)
    """How long the shared cache is waited for before a tile is made without it."""

    @field_validator("url")
    @classmethod
    def _known(cls, url: str | None) -> str | None:
        if url is None or url == "none":
            return None
        if not url.startswith(("redis://", "rediss://")):
            raise ValueError("a shared cache is none, redis://... or rediss://...")
        return url


class Compression(Group):
    """How jobs run."""

    workers: int | None = Field(None, ge=1)
    """Processes that encode patches; None lets the machine decide."""
    runtime: Literal["onnx", "torch"] = "onnx"
    """What runs the nets that judge and restore while packages are made. ``torch`` needs the extra `gpu`."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where torch runs them; ``auto`` is the graphics card where there is one."""
    attempts: int = Field(5, ge=1)
    """Tries of a shard or a job before a passing error becomes final."""
    lease_s: float = Field(60.0, gt=0)
    """Seconds after which the work of a worker that no longer renews its lease is another's."""
    beat_s: float = Field(0.5, gt=0)
    """Seconds between two renewals: how often progress is written and a cancellation looked for."""
    reconcile_s: float = Field(2.0, gt=0)
    """Seconds between two looks for work that no message speaks of."""
    result_s: float = Field(7 * 86_400, gt=0)
    """Seconds that a restored file is kept after its job's end."""
    unfinished_jobs: int = Field(10_000, ge=1)
    """Unfinished jobs of all tenants; the next is answered 503 with Retry-After."""
    unfinished_jobs_per_tenant: int = Field(1_000, ge=1)


class DatabaseSettings(Group):
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


class Broker(Group):
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


class Store(Group):
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


class Oidc(Group):
    """The identity provider whose bearer tokens are accepted."""

    issuer: str = Field(min_length=1)
    audience: str = Field(min_length=1)
    jwks_url: str
    """Where its public keys are; https, or http on this machine."""
    algorithms: Annotated[tuple[Literal["RS256", "ES256"], ...], NoDecode] = ("RS256", "ES256")
    """Of signatures, comma-separated. No other can be allowed: they have no public key, or no signature."""
    roles_claim: str = "roles"
    """A list of roles, or one text of them with spaces between; dots lead into objects."""
    tenant_claim: str = "tenant"
    tenant: str | None = Field(None, pattern=TENANT_PATTERN)
    """The tenant of every token, instead of a claim."""
    leeway_s: float = Field(30, ge=0, le=300)
    """How far the provider's clock may be off."""
    jwks_cache_s: float = Field(300, gt=0)
    jwks_timeout_s: float = Field(5, gt=0)

    @field_validator("algorithms", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, value.split(","))) if isinstance(value, str) else value

    @field_validator("algorithms")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("at least one algorithm")
        return value

    @field_validator("jwks_url")
    @classmethod
    def _unforgeable(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            raise ValueError("keys come from https://..., or from http:// on this machine")
        return url


class Auth(Group):
    """Who may use the service."""

    mode: Literal["none", "required"] = "none"
    """``none``: whoever reaches the service may do everything, so that only this machine may reach it."""
    oidc: Oidc | None = None
    token_key: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """What signs tile tokens; several, comma-separated, for rotation: the first signs, all are accepted.
    None is a key of the process's own, which no other process knows and no restart keeps."""
    token_s: int = Field(300, ge=60, le=3600)
    """Seconds that a tile token lives."""

    @property
    def required(self) -> bool:
        return self.mode == "required"

    @field_validator("token_key", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, value.split(","))) if isinstance(value, str) else value

    @field_validator("token_key")
    @classmethod
    def _long(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < TOKEN_KEY_CHARS for key in keys):
            raise ValueError(f"a key has at least {TOKEN_KEY_CHARS} characters, and no comma")
        return keys


class Policy(Group):
    """What the site allows."""

    restored_for_primary: bool = False
    """Whether restored pixels may be shown for primary diagnosis."""


class Telemetry(Group):
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


class MetricsSettings(Group):
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
    auth: Auth = Auth()
    policy: Policy = Policy()
    limits: Limits = Limits()
    uploads: UploadSettings = UploadSettings()
    restoring: Restoring = Restoring()
    cache: CacheSettings = CacheSettings()
    compression: Compression = Compression()
    webhooks: Webhooks = Webhooks()
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

    @model_validator(mode="after")
    def _stay_on_this_machine(self) -> Self:
        if not (self.serving.loopback or self.auth.required or self.serving.allow_remote):
            raise ValueError(
                "ADASLIDE_SERVING__HOST reaches beyond this machine: set ADASLIDE_AUTH__MODE=required"
            )
        return self

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
            f"{PREFIX}{'__'.join(map(str, e['loc'])).upper()}: {e['msg']}" if e["loc"] else e["msg"]
            for e in error.errors()
        )
        raise InputError(f"settings refused: {wrong}") from error
