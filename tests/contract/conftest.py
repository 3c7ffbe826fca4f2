"""What contract suites share."""

import pytest
import sqlalchemy as sa

from adaslide.adapters.db.migrate import upgrade
from adaslide.adapters.db.session import create_engine


@pytest.fixture(scope="session")
def migrated(postgres):
    """The name of a Postgres database of this version's shape: a copy is made faster than a migration."""
    url = postgres.fresh_database()
    engine = create_engine(url)
    upgrade(engine)
    engine.dispose()
    return sa.make_url(url).database
