"""The servers without pytest, for benchmarks."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from servers import postgres, seaweedfs, valkey


@contextmanager
def servers(folder) -> Iterator[tuple]:
    """(Postgres, Valkey, S3), each with a folder of its own below ``folder``."""
    with ExitStack() as stack:
        found = []
        for module in (postgres, valkey, seaweedfs):
            own = folder / module.__name__.rpartition(".")[2]
            own.mkdir()
            found.append(stack.enter_context(contextmanager(module.serve)(own)))
        yield tuple(found)
