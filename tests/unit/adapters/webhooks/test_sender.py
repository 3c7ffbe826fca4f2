"""Messages over real sockets: signed, to the address that was checked, and nowhere else."""

import socket
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from standardwebhooks.webhooks import Webhook

from adaslide.adapters.webhooks.sender import HttpWebhookSender
from adaslide.ports.webhooks import Delivery
from adaslide.settings.webhooks import Webhooks
from servers.receiver import Receiver

SECRET = "whsec_" + "A" * 32
NAME = "hooks.example"


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


def sender(hosts="localhost", allow_private=True, **other):
    return HttpWebhookSender(Webhooks(hosts=hosts, secret=SECRET, allow_private=allow_private, **other))


def send(by, url):
    return by.send(url, "job-1", datetime.now(UTC), b'{"type": "job.succeeded"}')


def test_a_receiver_can_check_who_sent_it(receiver):
    assert send(sender(), receiver.url) == Delivery(status=204)
    ((path, headers, body),) = receiver.received
    assert (path, headers["Host"]) == ("/hook", f"localhost:{receiver.port}")
    assert Webhook(SECRET).verify(body, headers) == {"type": "job.succeeded"}


def test_redirects_are_not_followed(receiver):
    receiver.answers.append(307)
    receiver.headers["Location"] = "/elsewhere"
    delivery = send(sender(), receiver.url)
    assert (delivery.status, delivery.delivered) == (307, False)
    assert len(receiver.received) == 1


def test_an_address_of_this_network_is_not_connected_to(receiver, monkeypatch):
    """The name is allowed and its owner lets it point here."""
    monkeypatch.setattr(socket, "getaddrinfo", answering("127.0.0.1"))
    url = f"https://{NAME}:{receiver.port}/"
    assert send(sender(NAME, allow_private=False), url) == Delivery(error="not-allowed")
    assert receiver.received == []


def test_one_bad_address_among_good_ones_is_enough(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", answering("93.184.215.14", "10.0.0.1"))
    assert send(sender(NAME, allow_private=False), f"https://{NAME}/") == Delivery(error="not-allowed")


def answering(*addresses):
    """A resolver that says so of every name but an address."""
    real = socket.getaddrinfo

    def resolve(host, port, *args, **kwargs):
        if host != NAME:
            return real(host, port, *args, **kwargs)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return resolve


def test_a_list_that_became_shorter_holds(receiver):
    assert send(sender(NAME), receiver.url) == Delivery(error="not-allowed")


def test_nobody_there(receiver):
    receiver.close()
    assert send(sender(), receiver.url) == Delivery(error="no-answer")
    receiver.server.server_close()


def test_a_receiver_that_says_nothing_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://localhost:{silent.getsockname()[1]}/"
        assert send(sender(timeout_s=0.2), url) == Delivery(error="timeout")


def test_names_that_are_none(monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert send(sender(NAME), f"https://{NAME}/") == Delivery(error="name-not-resolved")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """(certificate, key) files of hooks.example, signed by itself."""
    folder, key, now = (
        tmp_path_factory.mktemp("tls"),
        ec.generate_private_key(ec.SECP256R1()),
        datetime.now(UTC),
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "certificate.pem", folder / "key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return pem, secret


@pytest.fixture
def secure(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority)
    receiver = Receiver(context)
    yield receiver
    receiver.close()


def test_the_certificate_is_that_of_the_name_not_of_the_address(secure, authority, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", answering("127.0.0.1"))
    url = f"https://{NAME}:{secure.port}/hook"
    assert send(sender(NAME, ca_file=authority[0]), url) == Delivery(status=204)
    assert secure.received[0][1]["Host"] == f"{NAME}:{secure.port}"
    assert send(sender(NAME), url) == Delivery(error="no-answer")  # nobody known signed it
    other = sender("localhost", ca_file=authority[0])
    assert send(other, f"https://localhost:{secure.port}/") == Delivery(error="no-answer")
    assert len(secure.received) == 1
