"""Messages cross as they are, and what is none of them is refused in words that quote nothing of it."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_type_hints

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.wall.strategies import ANY, MESSAGES

from setpoint.api.reasons import Problem, Reason
from setpoint.wall import inside as i
from setpoint.wall import messages as m
from setpoint.wall.codec import Assembly, Piece, decode, encode, number
from setpoint.wall.errors import ProtocolError
from setpoint.wall.frames import MAX_BODY, MAX_HEAD, MAX_SINGLE
from setpoint.wall.kinds import ANSWERS, EXPECTED, FITTING, NUMBERS, REQUESTS, TO_OPERATOR, TO_WORKER, TYPES
from setpoint.wall.limits import LENGTHS, MAX_LINKS, MAX_OBJECT, MAX_PLACED
from setpoint.wall.sizes import DEFAULT, SIZES, Bounds

SECRET = "hunter2"
SHA = "a" * 40
OBJECT: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
MADE = m.Made("a.yaml:1", 1, 1, OBJECT)
BUILT = m.Built("digest", "set", (MADE,))
LOOK = m.Look("team-a", "mirror", "0" * 40, submodules=False, spec={})


def crossed(message: Any) -> Any:
    return decode(number(message), [piece.body for piece in encode(message)])


@pytest.mark.parametrize("kind", list(TYPES.values()), ids=lambda kind: kind.__name__)
def test_every_message_crosses_whole(kind: type[Any]) -> None:
    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(MESSAGES[kind])
    def crosses(message: Any) -> None:
        pieces = list(encode(message))
        assert [piece.more for piece in pieces] == [True] * (len(pieces) - 1) + [False]
        assert crossed(message) == message

    crosses()


@pytest.mark.parametrize(
    "api",
    [
        [{"host": "a", "port": 0}],
        [{"host": "a", "port": 65536}],
        [{"host": "a\n", "port": 1}],
        [{"host": "a" * 2000, "port": 1}],
        [{"host": "a"}],
        ["a:1"],
        [{"host": "a", "port": 1}] * 1025,
    ],
)
def test_a_place_of_the_api_server_is_a_host_and_a_port(api: Any) -> None:
    with pytest.raises(ProtocolError):
        decode(NUMBERS[m.Hello], [orjson.dumps({"protocol": 1, "build": "x", "api": api})])


def test_the_table_of_kinds_is_whole() -> None:
    assert {*EXPECTED} == {*REQUESTS.values()}
    assert {answer for answers in EXPECTED.values() for answer in answers} == {*ANSWERS.values()}
    assert {*FITTING} == {*REQUESTS}
    assert len(NUMBERS) == len(TYPES)
    assert all(kind in range(16, 128) for kind in TYPES)
    assert not {*TO_WORKER} & {*ANSWERS}
    assert not {*TO_OPERATOR} & {*REQUESTS}


# --- sizes


def many(count: int, size: int = 0) -> m.Built:
    return m.Built(
        "digest",
        "set",
        tuple(m.Made(f"{n}.yaml", 1, 1, {**OBJECT, "data": "x" * size}) for n in range(count)),
    )


@pytest.mark.parametrize(
    ("count", "size"), [(10_000, 0), (300, 5_000), (5, MAX_BODY), (3, MAX_OBJECT - 100), (0, 0)]
)
def test_many_objects_come_in_frames_that_are_short(count: int, size: int) -> None:
    built = many(count, size)
    head, *bodies = encode(built)
    assert len(head.body) <= MAX_HEAD
    for body in bodies:
        assert len(body.body) <= (MAX_BODY if len(orjson.loads(body.body)["objects"]) > 1 else MAX_SINGLE)
    assert len(bodies) <= count * (size + 200) / (MAX_BODY / 2) + 1
    assert crossed(built) == built


def test_a_frame_is_made_when_it_is_asked_for() -> None:
    bad = replace(MADE, manifest={"kind": 1})
    pieces = encode(m.Built("digest", "set", (*many(5_000).objects, bad)))
    assert next(pieces).more
    with pytest.raises(
        ProtocolError, match=re.escape("Built.objects[5000] has no apiVersion that is a text")
    ):
        list(pieces)


def test_any_field_may_be_long() -> None:
    long = tuple(f"{n:032}" for n in range(20_000))
    for message in (
        m.Compare("mirror", "a", "b", submodules=False, read_sets=long),
        m.Drop("team-a", long, long),
        m.Build(replace(LOOK, spec={"values": "x" * MAX_OBJECT}), long),
    ):
        pieces = list(encode(message))
        assert len(pieces[0].body) <= MAX_HEAD
        assert crossed(message) == message


def test_long_texts_are_cut_where_they_are_made() -> None:
    failed = m.Failed.of(Problem(Reason.RenderFailed, "ä" * 5_000))
    assert len(failed.message.encode()) <= 2048
    assert failed.message.endswith("ä...")
    assert crossed(failed) == failed


# --- what must not be sent


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (replace(BUILT, objects=(replace(MADE, manifest={**OBJECT, "data": deep(64)}),)), "Built.objects[0] has more than 64 levels of nesting"),
        (replace(BUILT, objects=(replace(MADE, manifest={**OBJECT, "data": 2**64}),)), "Built.objects[0] cannot be written as JSON"),
        (replace(BUILT, objects=(replace(MADE, manifest={**OBJECT, "data": SECRET * 300_000}),)), "Built.objects[0] has an object of more than 1572864 bytes"),
        (replace(BUILT, objects=(replace(MADE, manifest={**OBJECT, "data": "\ud800" + SECRET}),)), "Built.objects[0] cannot be written as JSON"),
        (replace(BUILT, objects=(replace(MADE, manifest={**OBJECT, "data": {1: SECRET}}),)), "Built.objects[0] cannot be written as JSON"),
        (replace(BUILT, objects=(replace(MADE, where=f"{SECRET}\n"),)), "Built.objects[0] has a `where` that is no printable line of at most 1024 bytes"),
        (replace(BUILT, objects=(replace(MADE, where="ä" * 513),)), "Built.objects[0] has a `where` that is no printable line of at most 1024 bytes"),
        (replace(BUILT, twice=(SECRET * 300,)), "Built has a text of more than 2048 bytes"),
        (m.Failed(Reason.TooLarge, SECRET * 300), "Failed has a text of more than 2048 bytes"),
        (m.Placed((m.Located("", "A", "", "a", "\x1b[1m"),)), "Placed.objects[0] has a `where` that is no printable line of at most 1024 bytes"),
        (m.Objects(replace(LOOK, spec={"a": deep(64)}), "d"), "Objects.look has more than 64 levels of nesting"),
        (m.Objects(replace(LOOK, spec={"a": SECRET * 300_000}), "d"), "Objects.look is larger than 2097152 bytes"),
        (m.Fetched(SECRET * 300_000), "Fetched has a `handle` of more than 256 characters"),
        (m.Same("d", "x" * 257), "Same has a `read_set` of more than 256 characters"),
        (m.Drop("a", ("d", "x" * 257), ()), "Drop has a `digests` of more than 256 characters"),
        (m.GitRef(branch="x" * 257), "GitRef has a `branch` of more than 256 characters"),
        (m.Checked("h", "s", "x" * 1025, "", "", "", held=True), "Checked has a `revision` of more than 1024 characters"),
        (m.Checked("h", "s", "r", "", "", "x" * 65, held=True), "Checked has a `time` of more than 64 characters"),
        (i.Described("x" * 2049, "", ""), "Described has a text of more than 2048 bytes"),
        (i.Described("", "", "x" * 65), "Described has a `time` of more than 64 characters"),
        (i.Linked((i.Submodule("x" * 4097, "u", SHA),)), "Linked.submodules[0] has a `path` of more than 4096 characters"),
        (i.Linked((i.Submodule("p", "x" * 2049, SHA),)), "Linked.submodules[0] has a `url` of more than 2048 characters"),
        (i.Linked((i.Submodule("p", "u", "b" * 39),)), "Linked.submodules[0] has a `sha` that is none"),
        (i.Linked((i.Submodule("p", "u", SHA),) * (MAX_LINKS + 1)), "Linked has more than 10000 items"),
        (i.Linked((i.Submodule("x" * 4096, "u", SHA),) * 2000), "Linked has more than 4194304 bytes"),
        (i.Told("h", SHA, (i.Pinned("p", "h", "B" * 40),)), "Told.pins[0] has a `sha` that is none"),
        (i.Run("x" * 129, "t"), "Run has a `work` of more than 128 characters"),
        (i.Damaged("x" * 257), "Damaged has a `handle` of more than 256 characters"),
        (m.Placed((m.Located("", "A", "", "a", ""),) * (MAX_PLACED + 1)), "Placed has more than 20000 items"),
    ],
)  # fmt: skip
def test_what_must_not_be_sent_is_not(message: Any, words: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        list(encode(message))
    assert str(caught.value) == words


# --- what must not be received


def body(**change: Any) -> bytes:
    return orjson.dumps({"digest": "d", "read_set": "s", "objects": [MADE], **change})


def made(**change: Any) -> bytes:
    given = {field.name: getattr(MADE, field.name) for field in fields(MADE)} | change
    return body(objects=[MADE, given])


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "Built is no JSON, or nested too deep"),
        (b"{", "Built is no JSON, or nested too deep"),
        (b"\xff" + SECRET.encode(), "Built is no JSON, or nested too deep"),
        (body() + b"{}", "Built is no JSON, or nested too deep"),
        (b"[" * 100_000, "Built is no JSON, or nested too deep"),
        (b'{"digest":"\\ud800"}', "Built is no JSON, or nested too deep"),
        (made(manifest={**OBJECT, "data": 0}).replace(b'"data":0', b'"data":NaN'), "Built is no JSON, or nested too deep"),
        (made(manifest={**OBJECT, "data": 0}).replace(b'"data":0', b'"data":' + b"1" * 5000), "Built is no JSON, or nested too deep"),
        (b"[]", "Built is no map"),
        (body(**{SECRET: 1}), "Built has a field that Built does not have"),
        (body(digest=1), "Built.digest is no text"),
        (body(digest=None), "Built.digest is no text"),
        (body(skipped=True), "Built.skipped is no integer of 64 bits"),
        (body(skipped="1"), "Built.skipped is no integer of 64 bits"),
        (body(skipped=1.0), "Built.skipped is no integer of 64 bits"),
        (body(skipped=2**63), "Built.skipped is no integer of 64 bits"),
        (body(objects={}), "Built.objects is no list"),
        (body(objects=[SECRET]), "Built.objects[0] is no map"),
        (body(twice=["a", 1]), "Built.twice[1] is no text"),
        (body(twice=[SECRET * 300]), "Built has a text of more than 2048 bytes"),
        (b"{}", "Built.digest is missing"),
        (made(**{SECRET: 1}), "Built.objects[1] has a field that Made does not have"),
        (made(line=None), "Built.objects[1].line is no integer of 64 bits"),
        (made(where="a\nb"), "Built.objects[1] has a `where` that is no printable line of at most 1024 bytes"),
        (made(manifest=[]), "Built.objects[1].manifest is no map"),
        (made(manifest={}), "Built.objects[1] has no apiVersion that is a text"),
        (made(manifest={**OBJECT, "data": deep(128)}), "Built has more than 131 levels of nesting"),
        (made(manifest={**OBJECT, "data": 0}).replace(b'"data":0', b'"data":%d' % 2**64), "Built has an integer beyond 64 bits"),
        (body(objects=[{"where": "a", "index": 1, "line": 1}]), "Built.objects[0].manifest is missing"),
        (body(objects=[MADE] * 3_000), "Built has a frame of more than 262144 bytes, and not of a single thing"),
        (orjson.dumps({"objects": [replace(MADE, manifest={**OBJECT, "data": "x" * 1_600_000})]}), "Built has an object of more than 1572864 bytes"),
        (body(read_set="x" * MAX_BODY), "Built has a frame of more than 262144 bytes, and not of a single thing"),
    ],
)  # fmt: skip
def test_what_is_no_such_message_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(number(BUILT), [raw])
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("kind", "raw", "words"),
    [
        (m.Failed, {"reason": SECRET, "message": ""}, "Failed.reason is no Reason"),
        (m.Failed, {"reason": ["GitFailed"], "message": ""}, "Failed.reason is no Reason"),
        (m.Failed, {"reason": "GitFailed", "message": "", "retry": 1}, "Failed.retry is neither true nor false"),
        (m.Stats, {"memory": {SECRET: "1"}, "processes": {}, "deaths": 0, "longest_wait": 0}, "Stats.memory[one] is no integer of 64 bits"),
        (m.Stats, {"memory": [], "processes": {}, "deaths": 0, "longest_wait": 0}, "Stats.memory is no map"),
        (m.Stats, {"memory": {}, "processes": {}, "deaths": 0, "longest_wait": "0"}, "Stats.longest_wait is no number"),
        (m.Check, {"place": {"login": {SECRET: ""}}, "ref": {}}, "Check.place.login has a field that Login does not have"),
        (m.Lost, {"a": 1}, "Lost has a field that Lost does not have"),
    ],
)  # fmt: skip
def test_each_type_is_read_strictly(kind: type[Any], raw: Any, words: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(NUMBERS[kind], [orjson.dumps(raw)])
    assert str(caught.value) == words


def test_depth_and_numbers_as_far_as_they_may_go_are_taken() -> None:
    manifest = {**OBJECT, "data": deep(127), "most": 2**64 - 1, "least": -(2**63)}
    [found] = decode(number(BUILT), [made(manifest=manifest)]).objects[1:]
    assert found.manifest == manifest


def test_a_field_that_is_no_list_comes_once() -> None:
    with pytest.raises(ProtocolError, match=re.escape("Built.digest is there twice")):
        decode(number(BUILT), [body(), b'{"digest":"d"}'])


@pytest.mark.parametrize(("kind", "most"), [(m.Placed, SIZES[m.Placed]), (m.Built, DEFAULT.size)])
def test_a_message_has_a_limit_however_many_frames_it_comes_in(kind: type[Any], most: int) -> None:
    assembly = Assembly(NUMBERS[kind])
    blanks = b"{" + b" " * (MAX_BODY - 2) + b"}"
    for _ in range(most // MAX_BODY):
        assembly.add(blanks)
    with pytest.raises(ProtocolError, match=f"{kind.__name__} has more than {most} bytes"):
        assembly.add(blanks)


@pytest.mark.parametrize(
    "kind",
    [m.Welcome, m.Failed, m.Lost, m.Checked, m.Fetched, m.Same, m.Stats, i.Described, i.Run, i.Damaged],
)
def test_a_small_message_is_a_frame(kind: type[Any]) -> None:
    assembly = Assembly(NUMBERS[kind])
    assembly.add(b"{" + b" " * (MAX_HEAD - 2) + b"}")
    with pytest.raises(ProtocolError, match=f"{kind.__name__} has more than 65536 bytes"):
        assembly.add(b"{}")


def test_small_values_have_a_limit_however_short_they_are() -> None:
    bounds = Bounds.of(2**25, 100, 200_000)
    assembly = Assembly(number(BUILT), bounds)
    piece = body(objects=[replace(MADE, manifest={**OBJECT, "data": [{}] * 50_000})])
    bare = orjson.dumps({"objects": orjson.loads(piece)["objects"]})
    taken = assembly.add(piece)
    assert taken > 50_000 * 90
    for _ in range(3):
        assembly.add(bare)
    with pytest.raises(ProtocolError, match=f"Built has more than {bounds.values} values"):
        assembly.add(bare)


def test_wide_texts_take_more_than_their_bytes() -> None:
    narrow = Assembly(number(BUILT)).add(made(manifest={**OBJECT, "data": "x" * 100_000}))
    for wide in ("\U0001f600" + "x" * 100_000, "\x01" + "x" * 100_000):
        assert Assembly(number(BUILT)).add(made(manifest={**OBJECT, "data": wide})) > narrow + 300_000


FREE = {
    (m.Login, "*"), (m.ApiServer, "host"), (m.Made, "where"), (m.Located, "where"), (m.Failed, "message"),
    (m.Checked, "subject"), (m.Checked, "author"), (i.Described, "subject"), (i.Described, "author"), (m.Built, "twice"),
    (i.Ran, "stdout"), (i.Ran, "stderr"),
}  # fmt: skip
"""Texts with another limit: by bytes, or that of the message."""


@pytest.mark.parametrize("module", [m, i])
def test_each_text_has_a_limit(module: Any) -> None:
    kinds: list[type[Any]] = [each for each in vars(module).values() if isinstance(each, type)]
    for kind in kinds:
        if not is_dataclass(kind) or kind.__module__ != module.__name__ or (kind, "*") in FREE:
            continue
        texts = {
            name
            for name, hint in get_type_hints(kind).items()
            if hint in (str, str | None, tuple[str, ...]) and (kind, name) not in FREE
        }
        shas = {"sha"} if kind in (i.Submodule, i.Pinned, i.Told) else set()
        assert texts == {*LENGTHS.get(kind, {})} | shas, kind


def refusal(kind: int, raw: bytes) -> str:
    try:
        decode(kind, [raw])
    except ProtocolError as error:
        return f"{error} {error.__cause__ or ''}"
    return ""


def test_errors_quote_nothing() -> None:
    raw = made(manifest={**OBJECT, "data": SECRET})
    for at in range(len(raw)):
        for byte in (b"", b'"', b"1", b"[", b"\xff"):
            said = refusal(number(BUILT), raw[:at] + byte + raw[at + 1 :])
            assert "hunter" not in said


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ANY, st.data())
def test_a_message_with_faults_is_refused_or_another_message(message: Any, data: st.DataObject) -> None:
    raw = bytearray(b"".join(piece.body for piece in encode(message)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b'"', b"{", b"]", b","])
        )
        if not raw:
            return
    kind = data.draw(st.sampled_from([number(message), *TYPES]))
    if not refusal(kind, bytes(raw)):
        found = decode(kind, [bytes(raw)])
        assert isinstance(found, TYPES[kind])
        assert crossed(found) == found


def test_a_message_without_fields_is_a_frame_too() -> None:
    assert list(encode(m.Lost())) == [Piece(b"{}", more=False)]
