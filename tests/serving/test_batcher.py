"""The batcher and the room before it, without a web server: threads, real clocks."""

import threading
import time

import pytest

from googlenet.errors import GoogLeNetError
from googlenet.serving.admission import Admission, Cost, OverloadedError
from googlenet.serving.batcher import Batcher, ClosedError, DeadlineError
from googlenet.serving.limits import Limits


def later(seconds=20.0):
    return time.monotonic() + seconds


class Held:
    """Work that waits until it is let go, and notes its batches."""

    def __init__(self):
        self.go, self.begun, self.batches = threading.Event(), threading.Semaphore(0), []

    def run(self, batch):
        self.batches.append(list(batch))
        self.begun.release()
        assert self.go.wait(10)
        return [10 * each for each in batch]


@pytest.fixture
def held():
    found = Held()
    yield found
    found.go.set()


def test_what_waits_is_computed_in_batches_of_one_model_in_order(held):
    other = Held()
    other.go.set()
    with Batcher(workers=1) as batcher:
        first = batcher.submit(0, held.run, most=4, deadline=later())
        held.begun.acquire()
        rest = [batcher.submit(n, held.run, most=4, deadline=later()) for n in range(1, 4)]
        rest.append(batcher.submit(4, other.run, most=4, deadline=later()))
        rest += [batcher.submit(n, held.run, most=4, deadline=later()) for n in range(5, 9)]
        held.go.set()
        assert first.result(10).result == 0
        assert [each.result(10).result for each in rest] == [10, 20, 30, 40, 50, 60, 70, 80]
    assert held.batches == [[0], [1, 2, 3, 5], [6, 7, 8]]
    assert other.batches == [[4]]
    assert all(each.result().queue_seconds >= 0 <= each.result().infer_seconds for each in rest)


def test_a_worker_takes_its_share_and_leaves_the_others_theirs(held):
    with Batcher(workers=2) as batcher:
        busy = [batcher.submit(n, held.run, most=8, deadline=later()) for n in (0, 1)]
        for _ in busy:
            held.begun.acquire()
        rest = [batcher.submit(n, held.run, most=8, deadline=later()) for n in range(2, 8)]
        held.go.set()
        assert [each.result(10).result for each in rest] == [20, 30, 40, 50, 60, 70]
    assert max(map(len, held.batches)) == 3


def test_only_what_fails_alone_fails(held):
    def run(batch):
        if batch[0] == -1:
            return held.run(batch)
        if 3 in batch:
            raise ValueError("three")
        return list(batch)

    with Batcher(workers=1) as batcher:
        batcher.submit(-1, run, most=8, deadline=later())
        held.begun.acquire()
        found = [batcher.submit(n, run, most=8, deadline=later()) for n in range(6)]
        held.go.set()
        with pytest.raises(ValueError, match="three"):
            found.pop(3).result(10)
        assert [each.result(10).result for each in found] == [0, 1, 2, 4, 5]


def test_what_was_given_up_or_is_late_is_never_computed(held):
    with Batcher(workers=1) as batcher:
        batcher.submit(0, held.run, most=1, deadline=later())
        held.begun.acquire()
        given_up = [batcher.submit(n, held.run, most=8, deadline=later()) for n in range(1, 1001)]
        late = batcher.submit(2000, held.run, most=8, deadline=later(-0.001))
        kept = batcher.submit(3000, held.run, most=8, deadline=later())
        assert all(each.cancel() for each in given_up)
        held.go.set()
        assert kept.result(10).result == 30000
        with pytest.raises(DeadlineError):
            late.result(10)
        assert batcher.computed == 2
    assert held.batches == [[0], [3000]]


def test_closing_finishes_what_was_taken_and_takes_no_more(held):
    batcher = Batcher(workers=1)
    found = [batcher.submit(n, held.run, most=1, deadline=later()) for n in range(3)]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    held.go.set()
    closing.join(10)
    assert [each.result(0).result for each in found] == [0, 10, 20]
    with pytest.raises(ClosedError):
        batcher.submit(4, held.run, most=1, deadline=later())


@pytest.mark.parametrize("cost", [Cost(images=3), Cost(body=101), Cost(pixels=1001)])
def test_each_cost_is_bounded_and_whoever_is_alone_is_let_in(cost):
    room = Admission(Limits(waiting_images=4, waiting_bytes=200, waiting_pixels=2000))
    with room.ticket() as alone:
        alone.take(Cost(9, 900, 9000))
        with room.ticket() as other, pytest.raises(OverloadedError):
            other.take(Cost(images=1))
    assert room.inside == Cost()
    with room.ticket() as first, room.ticket() as second:
        first.take(cost)
        with pytest.raises(OverloadedError):
            second.take(cost)
        assert room.inside == cost
        first.free(cost)
        second.take(cost)
    assert room.inside == Cost()


def test_a_thread_that_still_works_for_a_request_that_was_given_up_changes_nothing():
    room = Admission(Limits())
    with room.ticket() as ticket:
        ticket.take(Cost(1, 10, 100))
    ticket.free(Cost(pixels=100))
    with pytest.raises(OverloadedError):
        ticket.take(Cost(pixels=100))
    assert room.inside == Cost()


def test_when_to_return_follows_from_the_measured_rate():
    now = [0.0]
    room = Admission(Limits(waiting_images=40), clock=lambda: now[0])
    for _ in range(100):
        with room.ticket() as ticket:  # 4 images in a second, then nothing for two
            ticket.take(Cost(images=4))
            for _ in range(4):
                now[0] += 0.25
                room.answered()
        now[0] += 2
    assert room.rate == pytest.approx(4, rel=0.01)
    with room.ticket() as full, room.ticket() as other:
        full.take(Cost(images=40))
        with pytest.raises(OverloadedError) as refused:
            other.take(Cost(images=1))
    assert refused.value.retry_after in (10, 11)


def test_many_threads_leave_an_empty_room():
    room = Admission(Limits(waiting_images=5))

    def come_and_go():
        for _ in range(200):
            with room.ticket() as ticket:
                try:
                    ticket.take(Cost(1, 10, 100))
                    assert 0 < room.inside.images <= 5
                except OverloadedError:
                    pass

    threads = [threading.Thread(target=come_and_go) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert room.inside == Cost()


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(GoogLeNetError, match="body is above 0"):
        Limits(body=0)
