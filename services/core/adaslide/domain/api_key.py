"""API keys as text: ``ads_{id}_{secret}{checksum}``.

The id finds the record, the 32 random bytes are the secret, the checksum lets a cut or mistyped key (and a
scanner for leaked ones) be told without asking the database. Only a digest of the whole text is ever stored.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass, field
from typing import Self

PREFIX = "ads_"
SECRET_BYTES = 32
_PATTERN = re.compile(rf"{PREFIX}([0-9a-z]{{26}})_([0-9a-f]{{{2 * SECRET_BYTES}}})([0-9a-f]{{8}})", re.ASCII)


def _checksum(key_id: str, secret: str) -> str:
    return f"{zlib.crc32(f'{key_id}_{secret}'.encode()):08x}"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as its holder has it; never stored and never logged."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls, key_id: str) -> Self:
        """A key that nobody can guess, under the id ``key_id``."""
        return cls(key_id, secrets.token_hex(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The key that ``text`` is; None when it is none."""
        match = _PATTERN.fullmatch(text)
        if match is None or _checksum(match[1], match[2]) != match[3]:
            return None
        return cls(match[1], match[2])

    @property
    def text(self) -> str:
        """What the holder sends."""
        return f"{PREFIX}{self.id}_{self.secret}{_checksum(self.id, self.secret)}"

    @property
    def digest(self) -> str:
        """SHA-256 of the text. A key has 256 random bits: it needs no slow hash."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def matches(self, digest: str) -> bool:
        """Whether ``digest`` is this key's, in a time that does not tell how much of it is right."""
        return hmac.compare_digest(self.digest, digest)
