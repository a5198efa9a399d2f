"""Keys of a kustomization: one form for each, or a refusal that names the line."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from setpoint.objects import documents
from setpoint.render.kustomize.keys import KeyProblem, canonical, line_of, text_of
from setpoint.render.kustomize.types import KUSTOMIZATION, Many, Struct

LONG_S, KELVIN = "\u017f", "\u212a"


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"resources": ["a"]}, {"resources": ["a"]}),
        ({"RESOURCES": ["a"], "Kind": "Component"}, {"resources": ["a"], "kind": "Component"}),
        ({"Labels": [{"Pairs": {"A": "1", "a": "2", LONG_S: "3"}}]}, {"labels": [{"pairs": {"A": "1", "a": "2", LONG_S: "3"}}]}),
        ({"Patches": [{"Target": {"KIND": "x"}, "patch": "Files: a"}]}, {"patches": [{"target": {"kind": "x"}, "patch": "Files: a"}]}),
        ({"openapi": {"Path": "x"}}, {"openapi": {"Path": "x"}}),
        ({"configMapGenerator": [None, {"OPTIONS": {"labels": {"X": "y"}}}]}, {"configMapGenerator": [None, {"options": {"labels": {"X": "y"}}}]}),
        ({"images": {"Name": "no list"}, "metadata": ["no mapping"]}, {"images": {"Name": "no list"}, "metadata": ["no mapping"]}),
    ],
)  # fmt: skip
def test_keys_of_structs_have_one_form_and_keys_of_maps_are_data(given: Any, made: Any) -> None:
    assert canonical(given) == made


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("resources: []\nResources: []\n", 2, "'Resources' and 'resources' in a kustomization are one field"),
        ("resources: []\nRESOURCES: []\nResources: []\n", 2, "'RESOURCES' and 'resources'"),
        (f"---\nre{LONG_S}ources: []\n", 2, "is not 'resources', for which kustomize takes it"),
        ("a: &a {Files: [x]}\n", 1, "there is no field 'a' in a kustomization"),
        ("configMapGenerator:\n- &a\n  Files: [x]\n  name: a\n- <<: *a\n  files: [y]\n", 3, "'configMapGenerator[1]'"),
        ("vars:\n- name: a\n  objref:\n    kind: x\n    " + f"{KELVIN}ind: y\n", 5, "'vars[0].objref'"),
        ('{"resources": [],\n "x": 1}', 2, "there is no field 'x'"),
        ("y: 1\n", 1, "there is no field 'true'"),
    ],
)  # fmt: skip
def test_what_kustomize_would_take_for_a_field_is_refused_at_its_line(
    text: str, line: int, said: str
) -> None:
    value = next(iter(documents.parse(text.encode(), "f"))).value
    with pytest.raises(KeyProblem) as raised:
        canonical(value)
    assert said in str(raised.value)
    assert line_of(text.encode(), raised.value.place) == line


def test_a_line_that_cannot_be_found_is_the_first() -> None:
    assert line_of(b"a: [", ("a",)) == 1
    assert line_of(b"a: [b]", ("a", 7)) == 1
    assert line_of(b"\n- a", ("a",)) == 1


names = st.sampled_from(sorted(KUSTOMIZATION.fields))


@given(names, st.data())
def test_no_two_keys_for_one_field_are_ever_taken(name: str, data: st.DataObject) -> None:
    spelled = "".join(c.upper() if data.draw(st.booleans()) else c for c in name)
    assert canonical({spelled: None}) == {name: None}
    if spelled != name:
        with pytest.raises(KeyProblem):
            canonical({spelled: None, name: None})


@given(
    st.dictionaries(st.text(max_size=90), st.text() | st.lists(st.text()) | st.integers(-(2**63), 2**63 - 1))
)
def test_the_text_is_read_as_the_same_values(content: dict[str, Any]) -> None:
    text = text_of(content)
    assert json.loads(text) == content
    assert yaml.load(text, Loader=yaml.CSafeLoader) == content
    assert not any(char in text.decode() for char in "\x7f\x85\u2028\u2029\ufeff")


def test_all_fields_of_the_table_are_told_apart_without_regard_to_case() -> None:
    left: list[Struct] = [KUSTOMIZATION]
    while left:
        struct = left.pop()
        assert len({name.lower() for name in struct.fields}) == len(struct.fields)
        for shape in struct.fields.values():
            left += [shape.of] if isinstance(shape, Many) else [shape] if isinstance(shape, Struct) else []
