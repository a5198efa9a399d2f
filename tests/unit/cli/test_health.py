"""`setpoint health`: objects in, verdicts and an exit code out."""

from __future__ import annotations

import io
import json

import pytest

from setpoint.cli import health

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: shop}\n"
WAITING = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, namespace: shop}\nstatus: {phase: Pending}\n"
LOST = WAITING.replace("name: data", "name: old").replace("Pending", "Lost")
PAUSED = (
    "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: nightly, namespace: shop}\nspec: {suspend: true}\n"
)


def run(data: str | bytes, output: str = "json") -> tuple[int, str, str]:
    out, errors = io.StringIO(), io.StringIO()
    code = health.run(data.encode() if isinstance(data, str) else data, out, output, errors)
    return code, out.getvalue(), errors.getvalue()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (CONFIG, 0),
        (f"{CONFIG}---\n{PAUSED}", 0),
        (f"{CONFIG}---\n{WAITING}", 1),
        (f"{WAITING}---\n{LOST}---\n{CONFIG}", 2),
        ("apiVersion: v1\nkind: List\nitems: []\n", 0),
    ],
)
def test_the_worst_object_decides_the_exit_code(data: str, code: int) -> None:
    assert run(data)[0] == code


def test_json_has_one_row_for_each_object_in_their_order() -> None:
    code, out, errors = run(f"{CONFIG}---\n{LOST}")
    assert (code, errors) == (2, "")
    assert json.loads(out) == [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "namespace": "shop",
            "name": "settings",
            "health": "Healthy",
            "reason": "Exists",
            "message": "",
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": "shop",
            "name": "old",
            "health": "Degraded",
            "reason": "Lost",
            "message": "the volume that it was bound to is gone",
        },
    ]


def test_text_is_aligned_columns() -> None:
    code, out, _ = run(f"{CONFIG}---\n{WAITING}", "text")
    assert code == 1
    assert out.splitlines() == [
        "KIND                   NAME           HEALTH       REASON   MESSAGE",
        "ConfigMap              shop/settings  Healthy      Exists",
        "PersistentVolumeClaim  shop/data      Progressing  Pending  waits for a volume",
    ]


def names(data: str) -> list[str]:
    return [row["name"] for row in json.loads(run(data)[1])]


def obj(name: str, **more: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **more}


def test_one_json_object_on_each_line() -> None:
    assert names("\n".join(json.dumps(obj(name)) for name in "abc")) == ["a", "b", "c"]


def test_lists_of_any_kind_are_expanded() -> None:
    untyped = {"metadata": {"name": "c"}}
    typed = {
        "apiVersion": "v1",
        "kind": "ConfigMapList",
        "metadata": {"resourceVersion": "1"},
        "items": [untyped],
    }
    whole = {"apiVersion": "v1", "kind": "List", "items": [obj("a"), obj("b"), typed]}
    assert names(json.dumps(whole)) == ["a", "b", "c"]
    assert json.loads(run(json.dumps(typed))[1])[0]["kind"] == "ConfigMap"


def test_a_kind_that_ends_in_list_is_not_a_list() -> None:
    assert names("apiVersion: example.org/v1\nkind: AllowList\nmetadata: {name: a}\nitems: [x]\n") == ["a"]


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (f"{CONFIG}---\nkind: [\n", "standard input:6"),
        (f"{CONFIG}---\n- 1\n", "standard input:5"),
        (f"{CONFIG}---\nmetadata: {{name: a}}\n", "standard input:5"),
        ("apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n- 7\n", "standard input:1"),
        ('{"apiVersion": "v1", "kind": "ConfigMap"}\n{"apiVersion": }\n', "standard input:2"),
        (b"kind: \xff\n", "standard input:1"),
        ("", "standard input:1"),
        ("# nothing\n---\n", "standard input:1"),
    ],
)
def test_bad_input_is_a_usage_error_with_its_line(data: str | bytes, where: str) -> None:
    code, out, errors = run(data)
    assert (code, out) == (64, "")
    assert errors.startswith(f"error: {where}:")
    assert "Traceback" not in errors


def test_an_unknown_format_is_a_usage_error() -> None:
    code, out, errors = run(CONFIG, "xml")
    assert (code, out) == (64, "")
    assert "use text or json" in errors


def test_a_text_stream_is_read_by_its_bytes() -> None:
    stream = io.TextIOWrapper(io.BytesIO(CONFIG.replace("settings", "größe").encode()), encoding="ascii")
    out = io.StringIO()
    assert health.run(stream, out, "json") == 0
    assert json.loads(out.getvalue())[0]["name"] == "größe"
    in_memory = io.StringIO(CONFIG)
    assert health.run(in_memory, io.StringIO(), "text") == 0
