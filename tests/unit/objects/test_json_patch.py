"""JSON Pointers overlap as their texts say, and elements of lists are found in the time of one look at the list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from setpoint.objects import managed_fields
from setpoint.objects.json_patch import MOST_KEYS, Elements, Pointers

MANY = 10_000

pointers = st.lists(st.sampled_from(("a", "b", "ab", "")), max_size=3).map(
    lambda tokens: "".join(f"/{token}" for token in tokens)
)


def alike(left: str, right: str) -> bool:
    return left == right or left.startswith(f"{right}/") or right.startswith(f"{left}/")


@given(st.lists(pointers, max_size=4), pointers)
def test_pointers_overlap_where_one_leads_into_the_other(those: list[str], path: str) -> None:
    assert Pointers(those).overlap(path) is any(alike(path, other) for other in those)


def test_elements_are_found_by_their_keys_and_by_themselves() -> None:
    both = Elements([1, {"a": 1, "b": []}, {"a": 2}, {"a": 2, "c": 3}, {"a": [1]}])
    found = [both.keyed(key) for key in ({"a": 2}, {"c": 3, "a": 2}, {"a": [1]}, {"a": 3}, {"b": None})]
    assert found == [2, 3, 4, None, 2]
    assert [both.equal(each) for each in (1, {"b": [], "a": 1}, {"a": 4}, '{"a": 2}')] == [0, 1, None, None]


def test_keys_that_no_list_has_cost_nothing() -> None:
    both = Elements([{f"k{n}": n for n in range(MOST_KEYS + 1)}])
    assert [both.keyed({f"k{n}": n}) for n in range(MOST_KEYS + 1)] == [*(0 for _ in range(MOST_KEYS)), None]


def test_long_lists_hold_nobody_up() -> None:
    """Where each element was looked for by going through the list this took minutes; it ends, or the test does not."""
    numbers = range(MANY)
    obj = {"env": [{"name": f"n{n}", "value": "v"} for n in numbers], "set": [f"v{n}" for n in numbers]}
    keyed: managed_fields.FieldSet = {
        f'k:{{"name":"n{n}"}}': {".": {}, "f:name": {}, "f:value": {}} for n in numbers
    }
    trie: managed_fields.FieldSet = {"f:env": keyed, "f:set": {f'v:"v{n}"': {} for n in numbers}}
    assert len(managed_fields.pointers(obj, trie)) == 3 * MANY
    assert len(managed_fields.additions(obj, trie, {})) == 2 * MANY
