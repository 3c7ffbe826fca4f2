"""Which URLs may be called back: nothing a caller says leads into the hospital's own network (SSRF)."""

import ipaddress
from urllib.parse import urlsplit

from adaslide.domain.errors import InputError
from adaslide.settings.group import is_loopback
from adaslide.settings.webhooks import Webhooks

LONGEST_URL = 2048
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class AllowedHosts:
    """`CallbackRules`: https to hosts of the settings' list."""

    def __init__(self, settings: Webhooks) -> None:
        self._settings = settings

    def checked(self, url: str) -> str:
        if not self._settings.hosts:
            raise InputError("this installation calls nobody back")
        if len(url) > LONGEST_URL or not url.isascii() or any(c <= " " or c in "\\\x7f" for c in url):
            raise InputError("a callback_url is an https:// URL")
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise InputError("a callback_url is an https:// URL") from None
        plain = parts.scheme == "http" and self._settings.allow_private and is_loopback(host or "")
        if not host or not (parts.scheme == "https" or plain):
            raise InputError("a callback_url is an https:// URL")
        if "@" in parts.netloc or parts.fragment:
            raise InputError("a callback_url has no user, password or fragment")
        if not self._listed(host):
            raise InputError("nobody at that host is called back (ADASLIDE_WEBHOOKS__HOSTS)")
        return url

    def _listed(self, host: str) -> bool:
        return any(
            host.endswith(entry) if entry.startswith(".") else host == entry for entry in self._settings.hosts
        )


def reachable(address: str, *, allow_private: bool) -> bool:
    """Whether the resolved ``address`` may be connected to: a public one, or with ``allow_private`` also one
    of this network or machine. What only this link knows, such as a cloud's metadata, never."""
    try:
        found: IpAddress = ipaddress.ip_address(address)
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    if found.is_link_local or found.is_multicast or found.is_unspecified:
        return False
    if found.is_global:
        return True
    return allow_private and (found.is_private or found.is_loopback)
