"""Whether what somebody added to a list is ignored is told in the time of one look at the list."""

from __future__ import annotations

from typing import Any

from setpoint.objects.managed_fields import Step
from setpoint.plan.ignore.paths import tree_of
from setpoint.plan.ignore.rules import Places, is_ignored

MANY = 10_000


def test_long_lists_hold_nobody_up() -> None:
    """Where each addition was looked for by going through Git's list this took minutes; it ends, or the test does not."""
    mine, added = ([{"name": f"{who}{n}"} for n in range(MANY)] for who in "ga")
    git: Any = {"env": mine, "set": [e["name"] for e in mine]}
    live = {"env": [*mine, *added], "set": [*git["set"], *(e["name"] for e in added)]}
    tree, places = tree_of(["/env/0", "/set/0"]), Places()
    for index in range(MANY, 2 * MANY):
        keyed = Step(str(index), live["env"][index])
        assert not is_ignored((Step("env"), keyed), tree, git, live, places)
        assert not is_ignored((Step("set"), Step(str(index))), tree, git, live, places)
    assert is_ignored((Step("env"), Step("0", mine[0])), tree, git, live, places)
    assert is_ignored((Step("set"), Step("0")), tree, git, live, places)


def test_an_element_without_a_whole_key_is_found_by_what_it_has() -> None:
    git = {"list": [{"a": {}}, {"a": 1}, {"a": 2}, {"a": 1}]}
    live = {"list": [{"a": 1, "b": 5}, {"a": 3, "b": 5}]}
    tree = tree_of(["/list/1"])
    found = [is_ignored((Step("list"), Step(str(i), e)), tree, git, live) for i, e in enumerate(live["list"])]
    assert found == [True, False]
