"""Frames come out of bytes whatever the pieces, and nothing but ProtocolError out of what is none."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.wall.errors import ProtocolError
from setpoint.wall.frames import ALONE, BODY, CANCEL, HEADER, MAX_SINGLE, Frame, Parser, pack

LIMITS = {BODY: 100, CANCEL: 0, 16: 50}
FRAMES = st.builds(
    Frame, st.sampled_from([BODY, 16]), st.integers(0, 2**32 - 1), st.binary(max_size=50), st.booleans()
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(places)]


def outcome(data: bytes, cuts: list[int]) -> tuple[list[Frame], str]:
    """Return the frames, and the error that ends them."""
    parser, found = Parser(LIMITS), deque[Frame]()
    for piece in pieces(data, cuts):
        try:
            found.extend(parser.feed(piece))
        except ProtocolError as error:
            return list(found), str(error)
        assert parser.held < HEADER.size + max(LIMITS.values())
    return list(found), ""


@settings(deadline=None)
@given(st.lists(FRAMES, max_size=8), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_pieces_make_the_same_frames(frames: list[Frame], cuts: list[int]) -> None:
    assert outcome(b"".join(map(pack, frames)), cuts) == (frames, "")


@settings(deadline=None)
@given(st.lists(FRAMES, max_size=3), st.binary(max_size=300), st.lists(st.integers(0, 10_000), max_size=12))
def test_garbage_is_refused_at_the_same_place_whatever_the_pieces(
    frames: list[Frame], garbage: bytes, cuts: list[int]
) -> None:
    data = b"".join(map(pack, frames)) + garbage
    found, error = outcome(data, cuts)
    assert (found, error) == outcome(data, [])
    assert found[: len(frames)] == frames


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ((101, BODY, 1), "a frame of kind 1 with 101 bytes; the limit is 100"),
        ((2**32 - 1, 16, 1), "a frame of kind 16 with 4294967295 bytes; the limit is 50"),
        ((0, 17, 1), "a frame of kind 17, which this side does not take"),
        ((0, 0, 1), "a frame of kind 0, which this side does not take"),
        ((1, CANCEL, 1), "a frame of kind 3 with 1 bytes; the limit is 0"),
        *(((0, kind | 0x80, 1), f"a frame of kind {kind} that others follow") for kind in sorted(ALONE)),
    ],
)
def test_the_front_of_a_frame_is_enough_to_refuse_it(header: tuple[int, int, int], words: str) -> None:
    parser = Parser(LIMITS)
    raw = HEADER.pack(*header)
    assert list(parser.feed(raw[:-1])) == []
    with pytest.raises(ProtocolError, match=words):
        list(parser.feed(raw[-1:]))
    with pytest.raises(ProtocolError, match=words):
        list(parser.feed(pack(Frame(16, 1))))


def test_a_large_frame_in_many_pieces_is_copied_once() -> None:
    # Copying what is there for each piece would move 2 MiB 130,000 times.
    parser = Parser({BODY: MAX_SINGLE})
    raw = pack(Frame(BODY, 7, bytes(MAX_SINGLE)))
    found = [frame for n in range(0, len(raw), 16) for frame in parser.feed(raw[n : n + 16])]
    assert found == [Frame(BODY, 7, bytes(MAX_SINGLE))]
    assert parser.held == 0


def test_many_small_frames_in_one_piece_are_moved_once() -> None:
    parser = Parser(LIMITS)
    assert sum(1 for _ in parser.feed(pack(Frame(16, 1)) * 100_000)) == 100_000
    assert parser.held == 0
