"""A worker that hears nothing is told from one that has nothing to hear."""

import pytest

from adaslide.domain.errors import BrokerUnavailable
from adaslide_worker.hearing import DEAF_AFTER_S, Hearing


class Clock:
    """Stands until it is turned."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def after(hearing, clock, seconds):
    """Whether it is deaf, looking twice a second for so long."""
    for _ in range(int(2 * seconds)):
        clock.now += 0.5
        found = hearing.deaf
    return found


def test_messages_that_wait_for_an_idle_worker_mean_that_it_is_deaf(clock):
    hearing = Hearing(lambda: 3, clock=clock)
    assert not after(hearing, clock, DEAF_AFTER_S - 1)
    assert after(hearing, clock, 3)


def test_nothing_to_hear_is_no_deafness(clock):
    assert not after(Hearing(lambda: 0, clock=clock), clock, 60)


def test_a_broker_that_is_gone_is_no_deafness(clock):
    def gone():
        raise BrokerUnavailable("gone")

    assert not after(Hearing(gone, clock=clock), clock, 60)


def test_a_busy_worker_may_let_messages_wait(clock):
    hearing = Hearing(lambda: 3, clock=clock)
    with hearing.task():
        assert not after(hearing, clock, 60)
    assert not after(hearing, clock, DEAF_AFTER_S - 1)
    assert after(hearing, clock, 3)


def test_whoever_hears_now_and_then_is_not_deaf(clock):
    hearing = Hearing(lambda: 3, clock=clock)
    for _ in range(10):
        assert not after(hearing, clock, DEAF_AFTER_S - 2)
        with hearing.task():
            pass
