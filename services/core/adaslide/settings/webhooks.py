"""Settings of callbacks."""

import base64
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from adaslide.settings.group import Group


class Webhooks(Group):
    """Calling back whoever asked for a job, at its end."""

    hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Hosts that may be called back, comma-separated: exact names, or ``.example.org`` for all below it.
    Without any, nobody is."""
    secret: SecretStr | None = None
    """What signs messages: ``whsec_`` and base64 of 24 to 64 bytes, as Standard Webhooks has it."""
    allow_private: bool = False
    """Lets those hosts have addresses of this network, and http on this machine's own."""
    ca_file: Path | None = None
    """Certificates (PEM) of authorities that sign receivers', instead of the public ones."""
    timeout_s: float = Field(10.0, gt=0, le=60)

    @field_validator("hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(filter(None, (host.strip().lower() for host in value.split(","))))

    @field_validator("secret")
    @classmethod
    def _strong(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is None:
            return None
        text = secret.get_secret_value()
        try:
            size = len(base64.b64decode(text.removeprefix("whsec_"), validate=True))
        except ValueError:
            size = 0
        if not (text.startswith("whsec_") and 24 <= size <= 64):
            raise ValueError("a secret is whsec_ and base64 of 24 to 64 bytes")
        return secret

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if self.hosts and self.secret is None:
            raise ValueError("ADASLIDE_WEBHOOKS__HOSTS needs ADASLIDE_WEBHOOKS__SECRET")
        return self
