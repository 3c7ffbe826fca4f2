"""The database's own clock: leases are not broken by a worker whose clock is wrong."""

from typing import Any

from sqlalchemy import Float
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement


class db_now(FunctionElement[float]):
    """Seconds since 1970, by the clock of the database's machine."""

    type = Float()
    inherit_cache = True


@compiles(db_now, "sqlite")
def _sqlite(element: db_now, compiler: Any, **kwargs: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(db_now, "postgresql")
def _postgresql(element: db_now, compiler: Any, **kwargs: Any) -> str:
    # Not now(): that stands still for the whole transaction.
    return "extract(epoch from clock_timestamp())::float8"


class epoch(FunctionElement[float]):
    """A point in time as seconds since 1970."""

    type = Float()
    inherit_cache = True


@compiles(epoch, "sqlite")
def _sqlite_epoch(element: epoch, compiler: Any, **kwargs: Any) -> str:
    return f"((julianday({compiler.process(element.clauses, **kwargs)}) - 2440587.5) * 86400.0)"


@compiles(epoch, "postgresql")
def _postgresql_epoch(element: epoch, compiler: Any, **kwargs: Any) -> str:
    return f"extract(epoch from {compiler.process(element.clauses, **kwargs)})::float8"
