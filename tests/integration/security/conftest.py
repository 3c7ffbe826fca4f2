"""A secured service on a free port, a real identity provider's key server, and everybody's credentials."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from adaslide import library
from adaslide.domain.access import Role
from adaslide.settings import load_settings
from adaslide_api.main import create_app
from jpeg_slide import write_jpeg_slide

from .secured import AUDIENCE, ISSUER, TOKEN_KEYS, IdentityProvider, Secured, served


@pytest.fixture(scope="session")
def private_keys():
    return {
        "rsa-1": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ec-1": ec.generate_private_key(ec.SECP256R1()),
    }


@pytest.fixture
def provider(private_keys):
    provider = IdentityProvider(private_keys)
    yield provider
    provider.close()


@pytest.fixture(scope="session")
def two_packages(sample_pixels, tmp_path_factory):
    """{profile: (path, totals)} of one small slide: ``paper`` restores both patches, ``exact`` none."""
    folder = tmp_path_factory.mktemp("two")
    pixels = sample_pixels[900:1412, :1024]
    write_jpeg_slide(folder / "a.tif", pixels)
    made = {}
    for name, more in {"paper": {"dice_floor": 0.3}, "exact": {}}.items():
        path = folder / f"{name}.zarr"
        totals = library.compress(folder / "a.tif", path, profile=name, mpp=0.499, workers=1, **more)
        made[name] = path, totals
    return made


@pytest.fixture
def start(provider, tmp_path):
    """Starts a service; settings of a group are given as in `load_settings`."""
    open_ = []

    def start(**settings):
        oidc = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": provider.url, "leeway_s": 0}
        auth = {"mode": "required", "oidc": oidc, "token_key": ",".join(TOKEN_KEYS)} | settings.pop(
            "auth", {}
        )
        given = {
            "data_dir": tmp_path / "data",
            "broker": {"queue": "security-tests"},
            "auth": auth,
        } | settings
        app = create_app(load_settings(**given), worker=False)
        running = served(app)
        open_.append(running)
        return Secured(app, running.__enter__(), provider)

    yield start
    for running in open_:
        running.__exit__(None, None, None)


@pytest.fixture
def secured(start):
    return start()


@pytest.fixture
def holding(secured, two_packages):
    """`secured` with a slide that has an exact package and a newer one, ``paper``, all restored."""
    secured.hold(exact=two_packages["exact"], paper=two_packages["paper"])
    return secured


@pytest.fixture
def every_role():
    return tuple(Role)
