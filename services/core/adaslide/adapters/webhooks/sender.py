"""Signed messages over HTTP, as Standard Webhooks has them."""

import socket
import ssl
from datetime import datetime

import httpx
from standardwebhooks.webhooks import Webhook

from adaslide.adapters.webhooks.rules import AllowedHosts, reachable
from adaslide.domain.errors import InputError
from adaslide.ports.webhooks import Delivery
from adaslide.settings.webhooks import Webhooks


class HttpWebhookSender:
    """`WebhookSender`. The receiver's name is resolved once for each attempt, every address it has is
    checked, and the connection goes to one that was: a name that changes its mind leads nowhere else."""

    def __init__(self, settings: Webhooks) -> None:
        self._settings = settings
        self._rules = AllowedHosts(settings)
        self._signer = Webhook(settings.secret.get_secret_value()) if settings.secret else None

    def send(self, url: str, message_id: str, at: datetime, body: bytes) -> Delivery:
        try:
            target = httpx.URL(self._rules.checked(url))
            address = self._resolved(target)
        except InputError:  # the list may have become shorter since the job was made
            return Delivery(error="not-allowed")
        except OSError:
            return Delivery(error="name-not-resolved")
        if address is None or self._signer is None:
            return Delivery(error="not-allowed")
        headers = {
            "Host": target.netloc.decode("ascii"),
            "Content-Type": "application/json",
            "User-Agent": "AdaSlide",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": self._signer.sign(message_id, at, body.decode()),
        }
        try:
            with (
                httpx.Client(
                    verify=ssl.create_default_context(cafile=self._settings.ca_file),
                    timeout=self._settings.timeout_s,
                    follow_redirects=False,
                    trust_env=False,  # a proxy would resolve the name anew
                ) as client,
                client.stream(
                    "POST",
                    target.copy_with(host=address),
                    content=body,
                    headers=headers,
                    extensions={"sni_hostname": target.host},
                ) as response,
            ):
                return Delivery(status=response.status_code)  # its body is nobody's business
        except httpx.TimeoutException:
            return Delivery(error="timeout")
        except (httpx.HTTPError, OSError):
            return Delivery(error="no-answer")

    def _resolved(self, target: httpx.URL) -> str | None:
        """One of the host's addresses; None unless every one of them may be connected to."""
        port = target.port or (443 if target.scheme == "https" else 80)
        found = socket.getaddrinfo(target.host, port, type=socket.SOCK_STREAM)
        addresses = [str(address[0]) for _, _, _, _, address in found]
        allowed = self._settings.allow_private
        if not all(reachable(address, allow_private=allowed) for address in addresses):
            return None
        return addresses[0]
