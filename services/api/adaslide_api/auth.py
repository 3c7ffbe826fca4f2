"""Who sends a request: an API key, or a bearer token of the identity provider."""

from contextlib import suppress
from datetime import UTC, datetime

from starlette.datastructures import Headers

from adaslide.domain.access import LOCAL, Principal
from adaslide.domain.api_key import PREFIX, ApiKey
from adaslide.domain.errors import StoreUnavailable, Unauthenticated
from adaslide.ports.jobs import Database
from adaslide.ports.security import ApiKeyRecord, TokenVerifier
from adaslide.settings import Auth
from adaslide_api.gate import Gate

KEY_HEADER = "x-api-key"
USE_IS_WRITTEN_AFTER_S = 3600
LOOKING_UP, WAITING = 4, 512
VERIFYING, WAITING_TO_VERIFY = 4, 128
_WRONG_KEY = "the API key is not valid here"


class Authenticator:
    """Finds the principal of a request. Bearer tokens wait at a gate of their own: a slow identity
    provider must not keep holders of API keys out."""

    def __init__(self, settings: Auth, database: Database, tokens: TokenVerifier | None) -> None:
        self._required = settings.required
        self._database = database
        self._tokens = tokens
        self._lookup = Gate(LOOKING_UP, WAITING)
        self._verify = Gate(VERIFYING, WAITING_TO_VERIFY)

    @property
    def required(self) -> bool:
        """Whether callers have to say who they are."""
        return self._required

    async def principal(self, headers: Headers) -> Principal:
        """Whoever sends these headers; `LOCAL` where nobody is asked.

        Raises `Unauthenticated`, and `Unavailable` when it cannot be found out: then nobody comes in.
        """
        if not self._required:
            return LOCAL
        credential = _credential(headers)
        if credential.startswith(PREFIX):
            return await self._lookup.run(self._holder, credential)
        if self._tokens is None:
            raise Unauthenticated("this service knows API keys only")
        return await self._verify.run(self._tokens.verify, credential)

    def _holder(self, text: str) -> Principal:
        key, now = ApiKey.parse(text), datetime.now(UTC)
        if key is None:
            raise Unauthenticated(_WRONG_KEY)
        with self._database.read() as unit:
            record = unit.api_keys.find(key.id)
        if record is None or not key.matches(record.digest) or not record.valid(now):
            raise Unauthenticated(_WRONG_KEY)
        self._remember(record, now)
        return record.principal

    def _remember(self, record: ApiKeyRecord, now: datetime) -> None:
        last = record.last_used_at
        if last is not None and (now - last).total_seconds() < USE_IS_WRITTEN_AFTER_S:
            return
        # A busy database is no reason to keep a valid key out; the next request tries again.
        with suppress(StoreUnavailable), self._database.write() as unit:
            unit.api_keys.used(record.id, now)


def _credential(headers: Headers) -> str:
    """The one credential among ``headers``. Several could mean different principals to different readers."""
    bearer, keys = headers.getlist("authorization"), headers.getlist(KEY_HEADER)
    if len(bearer) + len(keys) > 1:
        raise Unauthenticated("a request carries one credential")
    if keys:
        if not keys[0].startswith(PREFIX):
            raise Unauthenticated(_WRONG_KEY)
        return keys[0]
    scheme, _, token = bearer[0].partition(" ") if bearer else ("", "", "")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("say who you are: Authorization: Bearer ..., or X-Api-Key")
    return token.strip()
