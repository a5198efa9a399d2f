"""Manifests as text -> documents: kubectl's typing, and a clear error for everything that is not an object."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.kit.cluster import binaries

from setpoint.api.budgets import DEFAULTS, Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.objects import documents, scalars
from setpoint.objects.identity import Manifest

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
DATA = Path(__file__).resolve().parents[4] / "shared/data/manifests"


def kubectl(text: bytes) -> Any | None:
    """What the real kubectl makes of a manifest (no cluster is asked), or None where it fails."""
    command = [str(binaries.kubectl()), "annotate", "--local", "-o", "json", "-f", "-", "seen=yes"]
    done = subprocess.run(command, input=text, capture_output=True, check=False)
    return json.loads(done.stdout, parse_int=_number) if done.returncode == 0 else None


def _number(digits: str) -> int | float:
    value = int(digits)
    return value if -(2**63) <= value < 2**63 else float(value)


def ours(text: bytes) -> Any | None:
    try:
        return documents.load(text, "file.yaml")[0].manifest
    except Problem:
        return None


def same(one: Any, other: Any) -> bool:
    """Equal, and of equal types all the way down (True is not 1)."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


TRICKY = """yes no on off y n Y N True FALSE 0755 0o755 0O17 08 -017 1_000 1__0 1_ _1 1e3 1E3 1e400 -0 -0.0 1.0 1.50 .5 .5e3
.5_0 5. +.5 -.5 + - +1 -0x1F 0x7FFFFFFFFFFFFFFF 0x 0b11 -0b11 0b-1 0b2 0o8 ~ null Null nULL 2020-01-01
2020-01-01T00:00:00Z 1:20 190:20:30 12e03 1e20 1e21
9223372036854775807 -9223372036854775808 9007199254740993e3 << = 0.1 1e-7
!!str\u00a012 !!int\u00a0"12" !!float\u00a03 !!binary\u00a0aGVsbG8= !!binary\u00a0/w== !!null\u00a0"" !!bool\u00a0yes !own\u00a012 !\u00a012 "yes" 'on' "\\u00e9" infinity nan
0.1e1 00 0 007 0_7 1.e5 1.5e-7 123456789.125 !!timestamp\u00a02020-01-01"""


@pytest.mark.parametrize("scalar", [word.replace("\u00a0", " ") for word in re.split("[ \n]+", TRICKY)])
def test_a_scalar_is_typed_as_kubectl_types_it(scalar: str) -> None:
    text = f"{HEAD}data:\n- {scalar}\n- [{scalar}]\n".encode()
    theirs = kubectl(text)
    assert theirs is not None
    assert same(ours(text)["data"], theirs["data"])  # type: ignore[index]


@pytest.mark.parametrize("key", ["yes", "y", "12", "0x10", "1.5", "1e6", "1000000.5", "0.1", "1e-5", "123456", "1234567.0",
                                 "2020-01-01", "-0.0", "!!str 12", '"12"', ".inf", "-.inf", "3.4e39", "-1"])  # fmt: skip
def test_a_key_becomes_the_text_that_kubectl_makes_of_it(key: str) -> None:
    text = f"{HEAD}data:\n  {key}: x\n".encode()
    theirs = kubectl(text)
    assert theirs is not None
    assert ours(text)["data"] == theirs["data"]  # type: ignore[index]


@pytest.mark.parametrize("value", [".nan", ".inf", "-.INF", "!!int x", "!!float yes", "!!bool 1", "!!binary '*'", "{~: 1}",
                                   "{[a]: 1}", "{? {a: b} : 1}", "{<<: 1}", "{<<: [1]}", "&a [*a]", "*nowhere"])  # fmt: skip
def test_what_kubectl_refuses_is_refused_with_its_line(value: str) -> None:
    text = f"{HEAD}data: {value}\n".encode()
    assert kubectl(text) is None
    with pytest.raises(Problem, match=r"^dir/f\.yaml:4: ") as raised:
        documents.load(text, "dir/f.yaml")
    assert raised.value.reason is Reason.RenderFailed


MERGES = [
    "{a: 1, <<: {a: 2, b: 3}}",
    "{<<: {a: 2, b: 3}, a: 1}",
    "{<<: [{a: 1}, {a: 2, c: 4}]}",
    "{x: &x {a: 1, b: {c: 2}}, y: {<<: *x, b: 3}, z: *x}",
    '{"<<": {a: 1}}',
]


@pytest.mark.parametrize("value", MERGES)
def test_merge_keys_and_aliases_are_those_of_kubectl(value: str) -> None:
    text = f"{HEAD}data: {value}\n".encode()
    theirs = kubectl(text)
    assert theirs is not None
    assert ours(text)["data"] == theirs["data"]  # type: ignore[index]


words = st.text(alphabet="0123456789-+._eExXoObBaAfFnNyYsSiItruTRUlL~:", min_size=1, max_size=12)


@settings(max_examples=25)
@given(
    st.lists(words.filter(lambda word: not word.endswith(":") and word not in "--"), min_size=20, max_size=60)
)
@example(["0x_1", "1_._5", "._5", "+_1", "-._1", "1e_3", "0b_1", "1_0e1_0"])
def test_any_plain_scalar_is_typed_as_kubectl_types_it(scalars: list[str]) -> None:
    text = (HEAD + "data:\n" + "".join(f"- {scalar}\n" for scalar in scalars)).encode()
    theirs, mine = kubectl(text), ours(text)
    assert same(mine and mine["data"], theirs and theirs["data"])


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=25)
@given(st.lists(json_values, max_size=5))
@example([1.0, -0.0, 1e20, 1e22, 2**63 - 1, -(2**63), "\ud83d\ude00"])
def test_any_json_is_typed_as_kubectl_types_it(values: list[Any]) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": values})
    theirs = kubectl(text.encode())
    assert theirs is not None
    assert same(ours(text.encode())["data"], theirs["data"])  # type: ignore[index]


@pytest.mark.parametrize(
    "data",
    [
        "|\n  a",  # the last line has no end, and kubectl gives it one
        ">+\n  a\n\n",
        "{&a 1: *a, &b yes: *b, &c 1.5: *c}",
        "{x: &a 1.5, y: &b 2, z: &c on, v: {*a : x, *b : y, *c : z}}",
        "'a\r\r\n  b'",
        "!!timestamp 2020-01-01t1:2:3.4Z",
        "[!!float 9007199254740993, !!float 3, !!float -0]",
        "{!!float -.0: a, !!float 1e6: b, !!int 7: c, !!bool yes: d, !!float 3: e}",
        "[&b {&b 3: x}, *b, &c [&c [1], *c], *c]",
    ],
)
def test_what_a_fuzzer_found_is_read_as_kubectl_reads_it(data: str) -> None:
    text = f"{HEAD}data: {data}".encode()
    theirs = kubectl(text)
    assert theirs is not None
    assert same(ours(text)["data"], theirs["data"])  # type: ignore[index]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("!!binary \u00e9", "the value of !!binary is not base64"),
        ("!!float 18446744073709551615", scalars.BEYOND),
        ("!!timestamp soon", "the value does not fit its tag !!timestamp"),
        ("!!timestamp 2020-13-01", "the value does not fit its tag !!timestamp"),
        ("{0xFFFFFFFFFFFFFFFF: a}", scalars.BEYOND),
        ("{a: &a 1, b: &a [*a]}", "anchor 'a' contains itself"),
        ("x\n--- y: z", "`---` has to be alone on its line, but for a comment"),
        ("'x\n---y'", "`---` has to be alone on its line, but for a comment"),
    ],
)
def test_what_a_fuzzer_found_is_refused_as_kubectl_refuses_it(data: str, words: str) -> None:
    assert kubectl(f"{HEAD}data: {data}\n".encode()) is None or "brackets" in words
    message = failure(f"{HEAD}data: {data}\n")
    assert re.fullmatch(rf"dir/f.yaml:[456]: {re.escape(words)}", message)


@pytest.mark.parametrize("more", ["\r--- \r%s", "\u2028---\u2028%s", "...\n%s", "... # end\n%s"])
def test_what_kubectl_would_drop_is_refused(more: str) -> None:
    """It reads one document up to the next separator; all that it finds there besides is gone."""
    other = HEAD.replace("{name: a}", "{name: b}").rstrip()
    text = f"{HEAD}{more % other}\n"
    assert kubectl(text.encode())["metadata"]["name"] == "a"  # type: ignore[index]
    assert "something follows the end of the document" in failure(text)


@pytest.mark.parametrize(
    "text", ["a: b\n\ufeffc: d\n", "\ufeff\ufeffa: b\n", "---\n\ufeffa: b\n", "a: |\n  b\r\ufeffc: d\n"]
)
def test_a_byte_order_mark_within_the_text_is_refused(text: str) -> None:
    """kubectl takes it for a part of the first word, and libyaml for nothing."""
    assert "a byte order mark begins the line; remove it" in failure(text)


def failure(text: str | bytes, reason: Reason = Reason.RenderFailed) -> str:
    with pytest.raises(Problem) as raised:
        documents.load(text.encode() if isinstance(text, str) else text, "dir/f.yaml")
    assert raised.value.reason is reason
    return raised.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "data:\n\ta: b\n", "dir/f.yaml:5: a tab stands where spaces are needed; indent with spaces"),
        (HEAD + "data: {a: 1,\n  a: 2}\n", "dir/f.yaml:5: duplicate key 'a'"),
        (HEAD + "data: {1: a, '1': b}\n", "dir/f.yaml:4: duplicate key '1'"),
        ('{"apiVersion": "v1",\n "kind": "A",\n "kind": "B"}', "dir/f.yaml:3: duplicate key 'kind'"),
        (b"a: b\nc: \xff\n", "dir/f.yaml:2: the file is not UTF-8 text; save it as UTF-8"),
        ("a: \x01\n", "dir/f.yaml:1: a control character stands in the text; remove it"),
        ("- a\n", "dir/f.yaml:1: document 1 is a list, not an object"),
        (HEAD + "---\nhello\n", "dir/f.yaml:5: document 2 is text, not an object"),
        ("kind: A\nmetadata: {name: a}\n", "dir/f.yaml:1: the object has no apiVersion; add it"),
        ("# note\n\napiVersion: v1\n", "dir/f.yaml:3: the object has no kind; add it"),
        ("apiVersion: v1\nkind: true\n", "dir/f.yaml:1: kind is a boolean; put it in quotes"),
        ("apiVersion: v1\nkind: A\n", "dir/f.yaml:1: A has no metadata.name; add it"),
        (
            "apiVersion: v1\nkind: A\nmetadata: {generateName: b-}\n",
            "dir/f.yaml:1: A has metadata.generateName, which is not supported; give it a metadata.name",
        ),
        ("apiVersion: v1\nkind: A\nmetadata: {name: 12}\n", "dir/f.yaml:1: metadata.name of A is a number; put it in quotes"),
        (
            "apiVersion: v1\nkind: A\nmetadata: {name: a, labels: {b: yes}}\n",
            "dir/f.yaml:1: metadata.labels of A/a: b is a boolean; put it in quotes",
        ),
        ("a: b: c\n", "dir/f.yaml:1: mapping values are not allowed in this context"),
        (
            "apiVersion: v1\nkind: A\n{{- if .x }}\n",
            "dir/f.yaml:3: this is a template, not YAML; render it first, or list the file in spec.exclude",
        ),
        ("apiVersion: v1\nkind: List\nitems:\n- 3\n", "dir/f.yaml:1: item 1 of List is a number, not an object"),
    ],
)  # fmt: skip
def test_bad_text_is_named_with_file_line_and_what_to_do(text: str | bytes, message: str) -> None:
    assert failure(text) == message


@pytest.mark.parametrize("number", ["9223372036854775808", "-9223372036854775809", "18446744073709551615", "0x1FFFFFFFFFFFFFFFF",
                                    "123456789012345678901234567890", "9" * 5000, "!!int 9223372036854775808", "!!int 0xFFFFFFFFFFFFFFFF"])  # fmt: skip
def test_an_integer_beyond_64_bits_is_refused_and_not_rounded(number: str) -> None:
    words = "an integer beyond 64 bits, which would be rounded; write it with an exponent, or put it in quotes if it is text"
    assert failure(f"{HEAD}data: {{a: {number}}}\n") == f"dir/f.yaml:4: {words}"
    if number.lstrip("-").isdigit():
        assert failure(f'{{"a": {number}}}') == f"dir/f.yaml:1: {words}"
    assert documents.load(f"{HEAD}data: {{a: '{number}'}}\n".encode(), "f")


LAUGHS = [f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)]


def test_a_billion_laughs_end_at_once() -> None:
    message = failure(
        f"{HEAD}data:\n  a0: &a0 [{', '.join(['lol'] * 9)}]\n{''.join(LAUGHS)}", Reason.TooLarge
    )
    assert re.fullmatch(
        r"dir/f.yaml:11: at least 1,[0-9,]* values in YAML or JSON, aliases resolved, more than the 1,000,000 of "
        r"settings.maxYamlValues; make several Syncs of it, or raise the setting",
        message,
    )


def test_aliases_of_a_long_text_count_with_its_length() -> None:
    text = f"{HEAD}data:\n  a: &a {'x' * 2**20}\n  b: [{', '.join(['*a'] * 1_000)}]\n"
    assert "at least 1,015,885 values" in failure(text, Reason.TooLarge)


def test_a_chain_of_aliases_that_nests_too_deep_is_refused() -> None:
    links = "".join(f"  a{n}: &a{n} [[[[[*a{n - 1}]]]]]\n" for n in range(1, 80))
    message = failure(f"{HEAD}data:\n  a0: &a0 x\n{links}", Reason.TooLarge)
    assert "at least 67 levels of nesting, more than the 64 of settings.maxDepth; nest less deeply" in message


def nested(levels: int) -> list[str]:
    inner = "[" * (levels - 1) + "]" * (levels - 1)
    return [
        f"{HEAD}data: {inner}",
        f'{{"kind":"A","apiVersion":"v1","metadata":{{"name":"a"}},"b":{inner}}}',
    ]


@pytest.mark.parametrize("text", [*nested(65), *nested(400), *nested(90_000), "[" * 90_000])
def test_deep_nesting_is_refused(text: str) -> None:
    assert "at least 65 levels of nesting, more than the 64 of settings.maxDepth" in failure(
        text, Reason.TooLarge
    )


@pytest.mark.parametrize("text", nested(64))
def test_what_is_as_deep_as_allowed_is_read(text: str) -> None:
    assert len(documents.load(text.encode(), "f")) == 1


PAIRS = "- {a: b}\n" * 50_000


def test_five_megabytes_of_small_values_end_where_their_number_is_reached() -> None:
    text = "- {a: b}\n" * (5 * 2**20 // 9)
    assert failure(text, Reason.TooLarge).startswith(
        "dir/f.yaml:333334: at least 1,000,001 values in YAML or JSON"
    )


@pytest.mark.parametrize(
    "text",
    [
        PAIRS,
        f"{HEAD}data:\n{PAIRS}",
        '{"a":[' + ",".join(["{}"] * 10**5) + "]}",
        "---\n{a: b}\n" * 50_000,
        "---\n\n" * 50_000,
        "--- # a\n  # b\n" * 50_000,
        "---\n~\n" * 50_000,
    ],
    ids=["list", "object", "json", "documents", "empty", "comments", "null"],
)
def test_what_was_made_of_many_values_is_bounded(text: str) -> None:
    data, few = text.encode(), Budgets(max_yaml_values=10_000)
    tracemalloc.start()
    try:
        with pytest.raises(Problem, match=r" values in .*, more than the 10,000 of settings\.maxYamlValues"):
            documents.read(data, "f", few)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_a_million_separators_are_read_and_name_the_line_behind_them() -> None:
    lines = "---\n" * 10**6
    assert documents.read(lines.encode(), "f").values == 0
    assert failure(f"{lines}a: [\n").startswith("dir/f.yaml:1000002: ")


def test_a_megabyte_of_blanks_beside_a_separator_is_read_once() -> None:
    """Blanks can belong to the comment or to what is behind it; trying both for each took the square of their number."""
    blanks = " " * 2**20
    assert (
        failure(f"a: b\n--- #{blanks}\x01\n")
        == "dir/f.yaml:2: `---` has to be alone on its line, but for a comment"
    )
    assert documents.read(f"a: b\n---{blanks}#{blanks}\n".encode(), "f").skipped == 1


def test_an_alias_of_a_long_key_counts_with_its_length() -> None:
    text = f"{HEAD}data:\n  ? &a {'x' * 2**20}\n  : b\n  c: [{', '.join(['*a'] * 1_000)}]\n"
    assert " values in YAML or JSON" in failure(text, Reason.TooLarge)


def test_commas_in_the_strings_of_json_are_no_values() -> None:
    text = json.dumps(
        {"kind": "A", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"a": '\\",[{:' * 200_000}}
    )
    assert "bytes, more than the 1,572,864" in failure(text, Reason.TooLarge)


def test_the_objects_of_a_file_are_counted_and_those_of_lists_too() -> None:
    few = Budgets(max_objects=3)
    items = "\n".join(f"- {{metadata: {{name: a{n}}}}}" for n in range(4))
    for text in ("---\n".join([HEAD] * 4), f"apiVersion: v1\nkind: ConfigMapList\nitems:\n{items}\n"):
        with pytest.raises(
            Problem, match=r"^f: at least 4 objects, more than the 3 of settings\.maxObjects; "
        ) as raised:
            documents.read(text.encode(), "f", few)
        assert raised.value.reason is Reason.TooLarge
    assert len(documents.read("---\n".join([HEAD] * 3).encode(), "f", few).documents) == 3


def test_an_object_over_the_limit_is_refused_and_one_below_it_is_not() -> None:
    size = DEFAULTS.max_object_size
    assert len(documents.load(f"{HEAD}data: {{a: {'x' * (size - 500)}}}\n".encode(), "f")) == 1
    message = failure(f"{HEAD}data: {{a: {'x' * size}}}\n", Reason.TooLarge)
    assert re.fullmatch(
        r"dir/f.yaml:1: ConfigMap/a has 1,5[0-9,]* bytes, more than the 1,572,864 that the API server takes "
        r"\(settings.maxObjectSize\); split it",
        message,
    )


def test_five_megabytes_of_documents_are_read_completely() -> None:
    body = "x" * 900
    text = "---\n".join(f"{HEAD.replace('a}', f'a{n}}}')}data:\n  key: {body}\n" for n in range(5_500))
    assert len(text) > 5_000_000
    loaded = documents.load(text.encode(), "f")
    assert [document.manifest["metadata"]["name"] for document in loaded] == [f"a{n}" for n in range(5_500)]
    assert [document.index for document in loaded] == list(range(1, 5_501))


def test_empty_documents_comments_and_a_byte_order_mark_are_nothing() -> None:
    text = "\ufeff# only a comment\n---\n---\n# more\n---\n" + HEAD + "---\n\n--- # the end\n...\n"
    loaded = documents.read(text.encode(), "f")
    assert [(document.line, document.manifest["kind"]) for document in loaded.documents] == [(6, "ConfigMap")]
    assert loaded.skipped == 0
    assert documents.read(b"", "f") == documents.read(b"# x\n", "f") == documents.Loaded(())


def test_a_document_without_kind_and_version_is_skipped_and_counted() -> None:
    loaded = documents.read(b'{"name": "app", "version": "1.0.0"}\n', "package.json")
    assert loaded == documents.Loaded((), 1)


def test_lists_are_expanded_with_the_line_of_each_item() -> None:
    text = """apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: a}
- apiVersion: v1
  kind: ConfigMapList
  items:
  - metadata: {name: b}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleList
  items: []
---
apiVersion: example.org/v1
kind: AllowList
metadata: {name: c}
items: [1]
"""
    found = [
        (d.manifest["kind"], d.manifest["metadata"]["name"], d.index, d.line)
        for d in documents.load(text.encode(), "f")
    ]
    assert found == [("ConfigMap", "a", 1, 4), ("ConfigMap", "b", 1, 7), ("AllowList", "c", 2, 15)]


def test_concatenated_json_is_a_stream_as_for_kubectl() -> None:
    one = '{"apiVersion":"v1","kind":"A","metadata":{"name":"%s"}}'
    found = documents.load(f"{one % 'a'}\n{one % 'b'}".encode(), "f.json")
    assert [(d.manifest["metadata"]["name"], d.line) for d in found] == [("a", 1), ("b", 2)]


def test_a_yaml_flow_mapping_is_not_taken_for_json() -> None:
    assert documents.load(b"{apiVersion: v1, kind: A, metadata: {name: a}}", "f")[0].manifest["kind"] == "A"


@pytest.mark.parametrize("name", ["cert-manager-v1.6.1.yaml", "gatekeeper-v3.10.0.yaml"])
def test_real_manifests_are_typed_as_kubectl_types_them(name: str) -> None:
    if not (DATA / name).exists():
        pytest.skip("the shared data are not beside the checkout")
    mine = [document.manifest for document in documents.load((DATA / name).read_bytes(), name)]
    command = [str(binaries.kubectl()), "annotate", "--local", "-o", "json", "-f", str(DATA / name), "seen-"]
    done = subprocess.run(command, capture_output=True, check=True)
    theirs = [document.manifest for document in documents.load(done.stdout, name)]
    assert len(mine) == len(theirs)
    assert all(
        _without_empty_annotations(one) == _without_empty_annotations(two)
        for one, two in zip(mine, theirs, strict=True)
    )


def _without_empty_annotations(manifest: Manifest) -> dict[str, Any]:
    meta = {name: value for name, value in manifest["metadata"].items() if name != "annotations" or value}
    return {**manifest, "metadata": meta}


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_a_problem(data: bytes) -> None:
    problem = caught(data)
    assert problem is None or problem.message.startswith("f:")


def caught(data: bytes) -> Problem | None:
    try:
        documents.read(data, "f")
    except Problem as problem:
        return problem
    return None


def test_a_value_never_stands_in_an_error() -> None:
    secret = base64.b64encode(b"hunter2hunter2").decode()
    for text in (
        f"data: {{a: !!int {secret}}}\n",
        f"data: {{a: 'x{secret}}}\n",
        f"data:\n  a: b\n {secret}: c: d\n",
        f"data: {{a: {secret}\n",
    ):
        assert secret not in failure(HEAD + text)


def test_a_file_whose_name_is_not_utf8_can_be_told_of() -> None:
    """Else the API server would never hear what is wrong with it: JSON is UTF-8."""
    (good,) = documents.load(f"{HEAD}".encode(), "caf\udce9.yaml")
    assert good.where == "caf\ufffd.yaml:1"
    with pytest.raises(Problem) as caught:
        documents.load(b"a: [", "caf\udce9.yaml")
    assert str(caught.value).startswith("caf\ufffd.yaml:2: ")
