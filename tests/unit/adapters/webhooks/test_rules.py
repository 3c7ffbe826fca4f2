"""Where callers may be called back, and which addresses a name may lead to."""

import pytest

from adaslide.adapters.webhooks.rules import AllowedHosts, reachable
from adaslide.domain.errors import InputError
from adaslide.settings import load_settings
from adaslide.settings.webhooks import Webhooks

SECRET = "whsec_" + "A" * 32


def rules(hosts="hooks.example,.north.example", **other):
    return AllowedHosts(Webhooks(hosts=hosts, secret=SECRET, **other))


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example/",
        "https://HOOKS.example:8443/a?b=c",
        "https://lis.north.example/x",
        "https://a.b.north.example",
    ],
)
def test_listed_hosts_may_be_called(url):
    assert rules().checked(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "https://north.example/",
        "https://other.example/",
        "https://hooks.example./",
        "https://user@hooks.example/",
        "https://user:word@hooks.example/",
        "https://other.example\\@hooks.example/",
        "https://hooks.example/#x",
        "https://hooks.example/\r\nHost: other.example",
        "https://h\u00f6oks.example/",
        "https://[hooks.example]/",
        "http://hooks.example/",
        "http://localhost/",
        "https:hooks.example",
        "https://",
        "https://hooks.example/" + "x" * 2048,
    ],
)
def test_no_other_url_may(url):
    with pytest.raises(InputError) as refused:
        rules().checked(url)
    assert "hooks" not in str(refused.value)


def test_http_is_for_this_machine_alone_and_only_where_that_is_allowed():
    url = "http://localhost:8080/"
    assert rules(hosts="localhost", allow_private=True).checked(url) == url
    for refusing in (rules(hosts="localhost"), rules(allow_private=True)):
        with pytest.raises(InputError):
            refusing.checked(url)


def test_without_hosts_nobody_is_called_back():
    with pytest.raises(InputError, match="nobody"):
        AllowedHosts(Webhooks()).checked("https://hooks.example/")


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("93.184.215.14", True, True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True, True),
        ("10.1.2.3", False, True),
        ("192.168.0.1", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("fd00::1", False, True),
        ("::ffff:10.1.2.3", False, True),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("fe80::1", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("224.0.0.1", False, False),
        ("not an address", False, False),
    ],
)
def test_addresses(address, public, private):
    assert reachable(address, allow_private=False) is public
    assert reachable(address, allow_private=True) is private


@pytest.mark.parametrize(
    "webhooks",
    [
        {"hosts": "hooks.example"},
        {"secret": "whsec_short"},
        {"secret": "A" * 32},
        {"secret": "whsec_" + "!" * 32},
    ],
)
def test_settings_that_cannot_sign_are_refused(webhooks):
    with pytest.raises(InputError, match="WEBHOOKS"):
        load_settings(webhooks=webhooks)
