"""The client says who it is and what pixels are for."""

import pytest

from adaslide.client import Client
from adaslide.domain.access import Role, Use
from adaslide.domain.errors import Denied, NotFound, RestoredNotForPrimary, Unauthenticated


@pytest.fixture
def connect(holding):
    """A client with the key of somebody who has these roles, closed at the end."""
    opened = []

    def connect(*roles, tenant="north", **options):
        key = holding.api_key(*roles, tenant=tenant)[0] if roles else None
        opened.append(Client(str(holding.client.base_url), key, **options))
        return opened[-1]

    yield connect
    for client in opened:
        client.close()


def test_roles(connect, holding):
    with pytest.raises(Unauthenticated):
        connect().slide(holding.slide)
    with pytest.raises(Denied):
        connect(Role.AUDITOR).slide(holding.slide)
    with pytest.raises(NotFound):
        connect(Role.VIEWER, tenant="south").slide(holding.slide)
    assert connect(Role.VIEWER).package(holding.slide).id == holding.packages["paper"]


def test_primary_use(connect, holding):
    viewer, pathologist = connect(Role.VIEWER), connect(Role.VIEWER, use=Use.PRIMARY)
    assert viewer.region(holding.slide, 0, 0, 8, 8).shape == (8, 8, 3)
    with pytest.raises(RestoredNotForPrimary) as refused:
        pathologist.region(holding.slide, 0, 0, 8, 8)
    exact = refused.value.more["exact"]["package"]
    assert pathologist.region(holding.slide, 0, 0, 8, 8, package=exact).shape == (8, 8, 3)
