"""Telling a caller elsewhere how its job ended."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one attempt: the receiver's ``status``, or a word of ours where there is none."""

    status: int | None = None
    error: str | None = None

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def unwanted(self) -> bool:
        """The receiver says that it will never want it (410, as Standard Webhooks has it)."""
        return self.status == 410


class CallbackRules(Protocol):
    """Where callers may be told at."""

    def checked(self, url: str) -> str:
        """``url``. Raises `InputError` for one that is not allowed."""
        ...


class WebhookSender(Protocol):
    """Sends signed messages. Never raises for what the receiver or the network does."""

    def send(self, url: str, message_id: str, at: datetime, body: bytes) -> Delivery:
        """One attempt. ``message_id`` is the same for every attempt at one message."""
        ...
