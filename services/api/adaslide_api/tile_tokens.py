"""Tile tokens: what lets an ``<img>``, which cannot send a header, fetch the tiles of one slide for minutes.

``{claims}.{signature}``, both base64url: HMAC-SHA256 over tenant, slide, package (or ``*``), expiry and
principal. Whoever holds one may look at that slide until then, and do nothing else.
"""

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from adaslide.domain.access import Principal, Role
from adaslide.domain.errors import Denied, Unauthenticated
from adaslide.settings import Auth

ANY_PACKAGE = "*"
ROUND_S = 60
"""Expiries are rounded up to it: pages opened in the same minute share a token, and the browser's cache."""
LONGEST_TOKEN = 1024
_PURPOSE = b"adaslide tile token 1\n"
_REFUSED = "the tile token is not valid, or no longer"


@dataclass(frozen=True, slots=True)
class TileGrant:
    """What a token lets its holder see. ``expires`` is in seconds since 1970."""

    tenant: str
    slide: str
    package: str
    expires: int
    principal: str

    @property
    def expires_at(self) -> datetime:
        return datetime.fromtimestamp(self.expires, UTC)

    def opens(self, slide: str | None, package: str | None) -> None:
        """Raises `Denied` for another slide or package than its own. Slides go by id, not by alias."""
        if slide != self.slide or self.package not in (ANY_PACKAGE, package):
            raise Denied("the tile token is for another slide or package")

    @property
    def viewer(self) -> Principal:
        """Whoever asked for the token, with the right to look."""
        return Principal(self.principal, self.tenant, frozenset({Role.VIEWER}))


class TileTokens:
    """Signs and reads tile tokens."""

    def __init__(self, settings: Auth) -> None:
        given = [key.get_secret_value().encode() for key in settings.token_key]
        self._keys = given or [secrets.token_bytes(32)]
        self._seconds = settings.token_s

    def grant(self, principal: Principal, slide: str, package: str | None, now: datetime) -> TileGrant:
        """What ``principal`` gets at ``now``: the slide's one ``package``, or every one it has."""
        ends = int(now.timestamp()) + self._seconds
        expires = -(-ends // ROUND_S) * ROUND_S
        return TileGrant(principal.tenant, slide, package or ANY_PACKAGE, expires, principal.id)

    def sign(self, grant: TileGrant) -> str:
        """The token of ``grant``."""
        claims = json.dumps(asdict(grant), sort_keys=True, separators=(",", ":")).encode()
        return f"{_text(claims)}.{_text(_mac(self._keys[0], claims))}"

    def read(self, token: str, now: datetime) -> TileGrant:
        """Raises `Unauthenticated` for a token that none of the keys signed, or that has ended."""
        if len(token) > LONGEST_TOKEN:
            raise Unauthenticated(_REFUSED)
        claims, _, signature = token.partition(".")
        try:
            signed, mac = _bytes(claims), _bytes(signature)
        except ValueError:
            raise Unauthenticated(_REFUSED) from None
        # Every key is tried, so that the time does not tell which one fits.
        fits = [hmac.compare_digest(mac, _mac(key, signed)) for key in self._keys]
        if not any(fits):
            raise Unauthenticated(_REFUSED)
        grant = TileGrant(**json.loads(signed))
        if now.timestamp() >= grant.expires:
            raise Unauthenticated(_REFUSED)
        return grant


def _mac(key: bytes, claims: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + claims, hashlib.sha256)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    padded = text.encode("ascii") + b"=" * (-len(text) % 4)
    return base64.b64decode(padded, altchars=b"-_", validate=True)
