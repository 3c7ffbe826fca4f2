"""Run by Alembic, with the engine that `adaslide.adapters.db.migrate` hands it."""

from alembic import context

from adaslide.adapters.db import security_tables  # noqa: F401 (its tables register with Base)
from adaslide.adapters.db.tables import Base

engine = context.config.attributes["engine"]
with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
