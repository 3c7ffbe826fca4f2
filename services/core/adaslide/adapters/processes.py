"""Processes that work on patches: started afresh, of one thread each, and ready when the first patch comes.

Whatever is in this module's imports is loaded by each of them before anything else: hence so little.
"""

import importlib
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

from adaslide.adapters.child import exit_with_parent

_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Processes are the parallelism: threads that wait for a patch's small products spin on others' cores."""


@contextmanager
def processes(count: int, modules: tuple[str, ...]) -> Iterator[Executor]:
    """A pool of ``count`` processes that end with their parent, and import ``modules`` while nothing else is
    asked of them. Never forked: this process may have threads."""
    with ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=_start, initargs=(os.getpid(), modules)
    ) as pool:
        with _environment(_ONE_THREAD):
            for _ in range(count):
                pool.submit(_ready)  # starts one, as long as none is idle
        yield pool


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """What is started inside gets ``variables``: numpy's library reads them once, when it is loaded."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start(parent: int, modules: tuple[str, ...]) -> None:
    exit_with_parent(parent)
    for module in modules:
        importlib.import_module(module)


def _ready() -> None:
    """The first task of a process."""
