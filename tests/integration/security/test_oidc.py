"""Bearer tokens, checked against a key server that really answers over HTTP."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from adaslide.adapters.identity.oidc import OidcVerifier
from adaslide.domain.access import Role
from adaslide.domain.errors import IdentityUnavailable, Unauthenticated
from adaslide.settings import Oidc

from .secured import AUDIENCE, ISSUER, TENANT


@pytest.fixture
def verifier(provider):
    def build(**changes):
        given = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": provider.url, "leeway_s": 0}
        return OidcVerifier(Oidc(**given | changes))

    return build


@pytest.mark.parametrize("kid", ["rsa-1", "ec-1"])
def test_a_token_of_the_provider_is_its_subjects(verifier, provider, kid):
    principal = verifier().verify(provider.token(Role.VIEWER, kid=kid))
    assert (principal.tenant, principal.roles) == (TENANT, {Role.VIEWER})
    assert principal.id == "user-" + hashlib.sha256(f"{ISSUER}\njane".encode()).hexdigest()[:32]


def test_keys_are_fetched_once(verifier, provider):
    checker = verifier()
    for _ in range(3):
        checker.verify(provider.token(Role.VIEWER))
    assert provider.fetches == 1


WRONG = {  # times are from the test's start on
    "expired": {"exp": timedelta(seconds=-2)},
    "not yet": {"nbf": timedelta(minutes=5)},
    "another audience": {"aud": "another"},
    "another issuer": {"iss": "https://other.example"},
    "no audience": {"aud": None},
    "no issuer": {"iss": None},
    "no end": {"exp": None},
    "no subject": {"sub": None},
    "no tenant": {"tenant": None},
    "a tenant that is no name": {"tenant": "../north"},
    "a tenant that is no text": {"tenant": ["north"]},
    "a key it does not publish": {"headers": {"kid": "rsa-9"}},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_a_token_that_is_not_for_here_and_now(verifier, provider, change):
    now = datetime.now(UTC)
    claims = {name: now + value if isinstance(value, timedelta) else value for name, value in change.items()}
    with pytest.raises(Unauthenticated):
        verifier().verify(provider.token(Role.VIEWER, **claims))


def unsigned(provider):
    return jwt.encode(provider.claims(Role.VIEWER), None, "none", headers={"kid": "rsa-1"})


def signed_with_the_public_key(provider):
    """HS256 with the published key's text as the secret: what a careless verifier accepts."""
    secret = (
        provider.private["rsa-1"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )

    def part(value):
        text = json.dumps(value, default=lambda at: int(at.timestamp()))
        return base64.urlsafe_b64encode(text.encode()).rstrip(b"=")

    signed = part({"alg": "HS256", "kid": "rsa-1"}) + b"." + part(provider.claims(Role.VIEWER))
    mac = base64.urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"=")
    return (signed + b"." + mac).decode()


def of_another_key(provider):
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(provider.claims(Role.VIEWER), stranger, "RS256", headers={"kid": "rsa-1"})


def of_another_algorithm(provider):
    key = provider.private["rsa-1"]
    return jwt.encode(provider.claims(Role.VIEWER), key, "RS512", headers={"kid": "rsa-1"})


def without_a_key_id(provider):
    return jwt.encode(provider.claims(Role.VIEWER), provider.private["rsa-1"], "RS256")


def changed(provider):
    head, _, signature = provider.token(Role.VIEWER).split(".")
    claims = jwt.encode(provider.claims(*Role), "x" * 32, "HS256").split(".")[1]
    return f"{head}.{claims}.{signature}"


def without_its_signature(provider):
    return provider.token(Role.VIEWER).rpartition(".")[0] + "."


FORGED = [
    unsigned,
    signed_with_the_public_key,
    of_another_key,
    of_another_algorithm,
    without_a_key_id,
    changed,
    without_its_signature,
    lambda _: "no.jwt.atall",
    lambda _: "x" * 20_000,
]


@pytest.mark.parametrize("forge", FORGED)
def test_a_forged_token(verifier, provider, forge):
    with pytest.raises(Unauthenticated):
        verifier().verify(forge(provider))


@pytest.mark.parametrize("forge", [unsigned, signed_with_the_public_key, of_another_algorithm])
def test_a_token_of_another_kind_does_not_even_cause_a_fetch(verifier, provider, forge):
    with pytest.raises(Unauthenticated):
        verifier().verify(forge(provider))
    assert provider.fetches == 0


def test_strangers_cannot_make_it_fetch_again_and_again(verifier, provider):
    checker = verifier()
    for number in range(5):
        with pytest.raises(Unauthenticated):
            checker.verify(provider.token(Role.VIEWER, headers={"kid": f"rsa-{number + 5}"}))
    assert provider.fetches == 1


def test_a_clock_may_be_off_by_the_leeway(verifier, provider):
    late = provider.token(Role.VIEWER, exp=datetime.now(UTC) - timedelta(seconds=5))
    assert verifier(leeway_s=60).verify(late).has(Role.VIEWER)


@pytest.mark.parametrize(
    ("claim", "roles", "found"),
    [
        ("roles", ["viewer", "auditor", "emperor"], {Role.VIEWER, Role.AUDITOR}),
        ("roles", "viewer auditor", {Role.VIEWER, Role.AUDITOR}),
        ("roles", None, set()),
        ("roles", {"viewer": True}, set()),
        ("roles", [["viewer"], 7], set()),
        ("realm_access.roles", {"roles": ["operator"]}, {Role.OPERATOR}),
        ("https://adaslide/roles", ["approver"], {Role.APPROVER}),
    ],
)
def test_roles_are_found_where_the_provider_puts_them(verifier, provider, claim, roles, found):
    top = claim.split(".")[0]
    token = provider.token(**{"roles": None} | {top: roles})
    assert verifier(roles_claim=claim).verify(token).roles == found


def test_one_tenant_for_all(verifier, provider):
    token = provider.token(Role.VIEWER, tenant=None)
    assert verifier(tenant="south").verify(token).tenant == "south"


@pytest.mark.parametrize("break_", ["answers 500", "is gone", "publishes nothing", "speaks nonsense"])
def test_without_the_providers_keys_nobody_comes_in(verifier, provider, break_):
    token = provider.token(Role.VIEWER)
    url = provider.url
    if break_ == "answers 500":
        provider.broken = True
    elif break_ == "is gone":
        url = "http://127.0.0.1:9/keys"
    elif break_ == "publishes nothing":
        provider.published = {}
    else:
        provider.keys = lambda: "nonsense"
    with pytest.raises(IdentityUnavailable):
        verifier(jwks_url=url).verify(token)


def test_an_outage_is_answered_503_and_ends(start, provider, monkeypatch):
    monkeypatch.setattr("adaslide.adapters.identity.oidc.REST_S", 0.0)
    secured = start()
    provider.broken = True
    answer = secured.client.get("/jobs", headers=secured.bearer(Role.VIEWER))
    assert (answer.status_code, answer.json()["code"]) == (503, "identity-unavailable")
    assert answer.headers["retry-after"]
    provider.broken = False
    assert secured.client.get("/jobs", headers=secured.bearer(Role.VIEWER)).status_code == 200


def test_a_401_says_how_to_come_in_and_nothing_of_the_token(secured):
    token = secured.provider.token(Role.VIEWER, aud="another")
    answer = secured.client.get("/jobs", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == 'Bearer realm="adaslide"'
    assert token not in answer.text


def test_without_a_provider_tokens_are_refused(start):
    secured = start(auth={"oidc": None})
    assert secured.client.get("/jobs", headers=secured.bearer(Role.VIEWER)).status_code == 401
