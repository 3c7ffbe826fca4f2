"""Processes with threads: results, errors and losses come back, and work is spread as it should be."""

import os
import pickle
import threading
import time
from concurrent.futures import BrokenExecutor, wait

import psutil
import pytest

from adaslide_worker.pool import ThreadedProcess, ThreadedProcesses


@pytest.fixture
def process():
    process = ThreadedProcess()
    yield process
    process.close()


def test_it_is_another_process_and_ends_when_closed():
    process = ThreadedProcess()
    pid = process.call(os.getpid)
    assert pid != os.getpid()
    assert process.call(os.getppid) == os.getpid()
    process.close()
    assert not psutil.pid_exists(pid)


def test_a_busy_one_ends_when_closed_too():
    process = ThreadedProcess()
    pid = process.call(os.getpid)
    with ThreadedProcesses([process], 1) as pool:
        sleeping = pool.submit(time.sleep, 60)
        while process.call(threading.active_count) < 3:
            time.sleep(0.05)
        process.close()
        with pytest.raises(BrokenExecutor):
            sleeping.result(timeout=10)
    assert not psutil.pid_exists(pid)


def test_errors_come_back_as_they_are_and_do_no_harm(process):
    with pytest.raises(EOFError):
        process.call(pickle.loads, b"")
    with pytest.raises(FileNotFoundError):
        process.call(os.listdir, "/nowhere")
    with pytest.raises(ValueError, match="'x'"):
        process.call(int, "x")
    assert process.call(int, "7", base=8) == 7


def test_a_lost_process_is_a_broken_executor(process):
    with ThreadedProcesses([process], 2) as pool:
        sleeping = pool.submit(time.sleep, 60)
        os.kill(pool.submit(os.getpid).result(), 9)
        with pytest.raises(BrokenExecutor):
            sleeping.result(timeout=10)
        with pytest.raises(BrokenExecutor):
            pool.submit(os.getpid).result(timeout=10)


def test_each_process_is_given_as_many_at_a_time_as_it_has_threads():
    processes = [ThreadedProcess(), ThreadedProcess()]
    try:
        with ThreadedProcesses(processes, 3) as pool:
            barriers = [pool.submit(time.sleep, 1.0) for _ in range(6)]
            started = time.monotonic()
            wait([pool.submit(time.sleep, 0)])
            assert time.monotonic() - started > 0.2
            assert all(barrier.result() is None for barrier in barriers)
            assert time.monotonic() - started < 4
            assert set(pool.map(eval, ["__import__('os').getpid()"] * 12)) == {
                process.call(os.getpid) for process in processes
            }
    finally:
        for process in processes:
            process.close()


def test_what_waits_can_be_taken_back(process):
    with ThreadedProcesses([process], 1) as pool:
        pool.submit(time.sleep, 0.5)
        assert pool.submit(time.sleep, 60).cancel()
