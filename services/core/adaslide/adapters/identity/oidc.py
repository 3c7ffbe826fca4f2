"""Bearer tokens of an OpenID Connect provider: JWTs signed by a key that it publishes."""

import hashlib
import re
import time
from collections.abc import Mapping
from typing import Any

import jwt

from adaslide.domain.access import TENANT_PATTERN, Principal, Role
from adaslide.domain.errors import IdentityUnavailable, Unauthenticated
from adaslide.settings import Oidc

LONGEST_TOKEN = 16_384
REST_S = 2.0
"""After the keys could not be fetched, callers are told so for this long without another try."""
_REFUSED = "the bearer token is not valid here"


class OidcVerifier:
    """`TokenVerifier`. What it refuses is refused with one message: it helps nobody to guess."""

    def __init__(self, settings: Oidc) -> None:
        self._settings = settings
        self._keys = jwt.PyJWKClient(
            settings.jwks_url, lifespan=settings.jwks_cache_s, timeout=settings.jwks_timeout_s
        )
        self._rest_until = 0.0

    def verify(self, token: str) -> Principal:
        """Whoever the token stands for.

        Raises `Unauthenticated` for whatever is not signed by the provider, for this service, and
        valid now; `IdentityUnavailable` when its keys cannot be had.
        """
        settings = self._settings
        if len(token) > LONGEST_TOKEN:
            raise Unauthenticated(_REFUSED)
        try:
            header = jwt.get_unverified_header(token)
            # Before a key is looked for: a token of another kind must not even cause a fetch.
            if header.get("alg") not in settings.algorithms or not isinstance(header.get("kid"), str):
                raise Unauthenticated(_REFUSED)
            claims = jwt.decode(
                token,
                self._key(header["kid"]),
                algorithms=list(settings.algorithms),
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=settings.leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated(_REFUSED) from error
        return self._principal(claims)

    def _key(self, key_id: str) -> jwt.PyJWK:
        if time.monotonic() < self._rest_until:
            raise IdentityUnavailable("the identity provider does not answer")
        try:
            self._keys.get_signing_keys()
        except (jwt.PyJWTError, ValueError) as error:
            raise self._unavailable() from error
        try:
            return self._keys.get_signing_key(key_id)
        except jwt.PyJWKClientConnectionError as error:
            raise self._unavailable() from error

    def _unavailable(self) -> IdentityUnavailable:
        self._rest_until = time.monotonic() + REST_S
        return IdentityUnavailable("the identity provider does not answer")

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        settings = self._settings
        tenant = settings.tenant or _claim(claims, settings.tenant_claim)
        if not isinstance(tenant, str) or re.fullmatch(TENANT_PATTERN, tenant) is None:
            raise Unauthenticated("the bearer token names no tenant")
        named = _claim(claims, settings.roles_claim)
        words = named.split() if isinstance(named, str) else named if isinstance(named, list) else []
        roles = frozenset(role for role in Role if role.value in words)
        subject = f"{settings.issuer}\n{claims['sub']}".encode()
        return Principal(f"user-{hashlib.sha256(subject).hexdigest()[:32]}", tenant, roles)


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, else along the dots in it (``realm_access.roles``); None where there is none."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
