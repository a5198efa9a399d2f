"""A window bounds what is under way, and nobody waits for ever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.wall.errors import ProtocolError
from setpoint.wall.frames import MAX_SINGLE
from setpoint.wall.window import WINDOW, Receiving, Sending, cost


@settings(deadline=None)
@given(st.lists(st.integers(0, MAX_SINGLE), max_size=60), st.randoms())
def test_whatever_the_sizes_all_arrives_and_little_is_under_way(sizes: list[int], random: object) -> None:
    sending, receiving, done = Sending(), Receiving(), 0
    queue: list[int] = []
    left = [size + 64 for size in sizes]
    while left or queue:
        can_send = bool(left) and sending.room(left[0])
        assert can_send or queue, "both sides wait for each other"
        if can_send and (not queue or random.random() < 0.5):  # type: ignore[attr-defined]
            size = left.pop(0)
            sending.sent(size)
            receiving.received(size)
            queue.append(size)
            assert sum(queue) <= max(WINDOW, queue[0])
        else:
            size = queue.pop(0)
            done += 1
            if due := receiving.used(size, len(queue)):
                sending.credited(due)
    assert done == len(sizes)


def test_who_sends_more_than_there_is_room_for_is_found_out() -> None:
    receiving = Receiving()
    receiving.received(MAX_SINGLE)  # alone, however large
    with pytest.raises(ProtocolError, match="more than 524288 bytes of one call"):
        receiving.received(1)


def test_empty_frames_take_room_too() -> None:
    assert WINDOW / cost(b"") < 10_000


@pytest.mark.parametrize("size", [0, -1, 11])
def test_a_credit_is_for_what_was_sent(size: int) -> None:
    sending = Sending()
    sending.sent(10)
    with pytest.raises(ProtocolError, match="credit"):
        sending.credited(size)
