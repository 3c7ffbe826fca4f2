"""What every group of settings is."""

import ipaddress

from pydantic import BaseModel, ConfigDict


class Group(BaseModel):
    """Frozen; a name that is not a setting is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine's own, which no other machine reaches."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
