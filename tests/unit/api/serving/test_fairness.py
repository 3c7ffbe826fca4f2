import asyncio

import pytest

from adaslide.domain.errors import Unavailable
from adaslide_api.serving.fairness import Audience, FairQueue


def in_loop(test):
    """Futures of the queue belong to a running loop."""

    def run(*args):
        asyncio.run(test(*args))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def loads(queue):
    taken = []
    while (waiting := queue.take()) is not None:
        taken.append(waiting.load)
    return taken


@in_loop
async def test_clients_take_turns_and_each_ones_own_keep_their_order():
    queue = FairQueue(600)
    greedy = Audience("greedy")
    for number in range(500):
        queue.put(("greedy", number), greedy)
    for client in ("b", "c"):
        for number in range(2):
            queue.put((client, number), Audience(client))
    assert len(queue) == 504
    order = loads(queue)
    first_seven = [("greedy", 0), ("b", 0), ("c", 0), ("greedy", 1), ("b", 1), ("c", 1), ("greedy", 2)]
    assert order[:7] == first_seven
    assert [number for client, number in order if client == "greedy"] == list(range(500))
    assert len(queue) == 0


@in_loop
async def test_a_full_queue_sends_away_the_last_of_the_longest_line():
    queue = FairQueue(4)
    places = [queue.put(number, Audience("greedy")) for number in range(4)]
    with pytest.raises(Unavailable):
        queue.put(4, Audience("greedy"))
    queue.put("b", Audience("modest"))
    with pytest.raises(Unavailable):
        await places[3].future
    assert not any(place.future.done() for place in places[:3])
    queue.put("b2", Audience("modest"))
    with pytest.raises(Unavailable):
        await places[2].future
    # Now both have as many: nobody has to yield.
    with pytest.raises(Unavailable):
        queue.put("b3", Audience("modest"))
    assert loads(queue) == [0, "b", 1, "b2"]


@in_loop
async def test_who_was_let_in_before_always_finds_a_place_and_keeps_it():
    queue = FairQueue(1)
    queue.put(1, Audience("a"))
    kept = [queue.put(number, Audience("a"), admitted=True) for number in (2, 3)]
    with pytest.raises(Unavailable):
        queue.put(4, Audience("a"))
    queue.put(5, Audience("b"))  # the one of a that may be sent away
    with pytest.raises(Unavailable):
        queue.put(6, Audience("c"))
    assert not any(place.future.done() for place in kept)
    assert loads(queue) == [2, 5, 3]


@in_loop
async def test_a_shared_computation_stands_in_the_line_of_all_who_wait_for_it():
    queue = FairQueue(100)
    for number in range(50):
        queue.put(number, Audience("greedy"))
    shared, joined = Audience("greedy"), Audience("late")
    place = queue.put("shared", shared)
    shared.follow(joined)
    joined.add("later")
    assert [queue.take().load for _ in range(2)] == [0, "shared"]
    assert len(queue) == 49
    queue.remove(place)  # again
    assert len(queue) == 49
    shared.add("latest")  # it has no place any more, and gets none
    assert loads(queue) == list(range(1, 50))


@in_loop
async def test_what_fits_is_taken_out_of_the_middle():
    queue = FairQueue(10)
    for client, load in (("a", "x1"), ("a", "y1"), ("b", "x2"), ("b", "y2"), ("c", "y3")):
        queue.put(load, Audience(client))
    assert [queue.take(lambda load: load[0] == "y").load for _ in range(3)] == ["y1", "y2", "y3"]
    assert queue.take(lambda load: load[0] == "y") is None
    assert loads(queue) == ["x1", "x2"]
