"""Run by Alembic, with the engine that `adaslide.adapters.db.migrate` hands it."""

from alembic import context

from adaslide.adapters.db import security_tables, uploads  # noqa: F401 (their tables register with Base)
from adaslide.adapters.db.tables import Base

engine = context.config.attributes["engine"]
with engine.connect() as connection:
    sqlite = connection.dialect.name == "sqlite"
    if sqlite:
        # A table whose constraints change is made anew: the rows that refer to it must not mind. SQLite
        # takes this only outside of a transaction.
        connection.connection.driver_connection.execute("PRAGMA foreign_keys=OFF")
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=sqlite)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
    if sqlite:
        connection.connection.driver_connection.execute("PRAGMA foreign_keys=ON")
