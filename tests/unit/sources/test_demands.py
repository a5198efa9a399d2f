"""What Syncs need of their Sources: each word of a Sync replaces its last one, and checks take away what they answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from setpoint.objects.identity import SyncKey
from setpoint.sources.demands import Demand, Demands, joined

SOURCE, OTHER = SyncKey("team", "src"), SyncKey("team", "other")
APP, SHOP = SyncKey("team", "app"), SyncKey("team", "shop")


def wants(*commits: str, source: SyncKey = SOURCE, latest: bool = False, check: str | None = None) -> Demand:
    return Demand(source, frozenset(commits), latest, check)


def test_only_what_is_new_is_worth_a_check() -> None:
    demands = Demands()
    assert demands.put(APP, wants("a"))
    assert not demands.put(APP, wants("a"))
    assert demands.put(APP, wants("a", "b"))
    assert not demands.put(APP, wants("b"))
    assert demands.put(APP, wants("b", latest=True))
    assert demands.put(APP, wants("b", check="now"))
    assert demands.put(APP, wants("b", check="later"))
    assert demands.put(APP, wants("b", source=OTHER))
    assert demands.on(SOURCE) == {}
    assert not demands.put(APP, None)
    assert demands.on(OTHER) == {}
    assert not demands.put(APP, wants())
    assert demands.on(SOURCE) == {}


def test_what_the_steps_of_one_run_demand_is_one_demand() -> None:
    assert joined(wants("b", latest=True), None, wants("a", check="now")) == wants(
        "a", "b", latest=True, check="now"
    )
    assert joined(None, wants("a")) == wants("a")
    assert joined(None, None) is None


def test_who_asks_for_more_is_untold_until_a_check_ends() -> None:
    demands = Demands()
    demands.put(APP, wants("a"))
    demands.put(SHOP, wants("a", source=OTHER))
    assert demands.untold(SOURCE) == {APP}
    demands.put(APP, wants("a"))
    assert demands.untold(SOURCE) == set()
    demands.put(APP, wants("a", latest=True))
    assert demands.untold(SOURCE) == {APP}


def test_a_sync_that_is_gone_demands_nothing_and_was_checked_never() -> None:
    demands = Demands()
    demands.put(APP, wants("a", check="now"))
    demands.answer(SOURCE, demands.on(SOURCE), (), held=False)
    demands.forget(APP)
    assert demands.on(SOURCE) == {}
    assert not demands.checked(SOURCE, APP, "now")


def test_commits_come_in_the_order_in_which_syncs_asked_and_each_once() -> None:
    demands = Demands()
    demands.put(SHOP, wants("c"))
    demands.put(APP, wants("a", "c"))
    demands.put(SHOP, wants("d", "c"))
    assert demands.commits(SOURCE) == ["c", "d", "a"]


def test_a_check_answers_what_was_asked_before_it_began() -> None:
    demands = Demands()
    demands.put(APP, wants("a", check="now"))
    asks = demands.on(SOURCE)
    demands.put(SHOP, wants("a", check="now"))
    assert demands.answer(SOURCE, asks, {"a"}, held=False) == {APP, SHOP}, "a commit that came is for all"
    assert demands.on(SOURCE) == {SHOP: wants(check="now")}
    assert demands.newer(SOURCE, asks)
    assert demands.checked(SOURCE, APP, "now")
    assert not demands.checked(SOURCE, SHOP, "now")
    assert not demands.checked(OTHER, APP, "now")
    assert demands.answer(SOURCE, demands.on(SOURCE), (), held=False) == {SHOP}
    assert not demands.newer(SOURCE, {})


def test_another_request_during_a_check_is_for_another_check() -> None:
    demands = Demands()
    demands.put(APP, wants(check="now"))
    asks = demands.on(SOURCE)
    demands.put(APP, wants(check="later"))
    assert demands.answer(SOURCE, asks, (), held=True) == set()
    assert not demands.checked(SOURCE, APP, "now")
    assert demands.newer(SOURCE, asks)


def test_the_last_good_commit_is_waited_for_until_it_is_held() -> None:
    demands = Demands()
    demands.put(APP, wants(latest=True))
    demands.put(SHOP, wants("a"))
    assert demands.waiting(SOURCE) == {APP, SHOP}
    assert demands.answer(SOURCE, {}, (), held=False) == set()
    assert demands.lost(SOURCE)
    assert not demands.newer(SOURCE, {SHOP: wants("a")})
    assert demands.answer(SOURCE, {}, (), held=True) == {APP}
    assert not demands.lost(SOURCE)
    assert demands.waiting(SOURCE) == {SHOP}


def test_who_waits_for_commits_of_a_source_that_is_made_again_waits_for_the_new_one() -> None:
    demands = Demands()
    demands.put(APP, wants("a", check="now"))
    demands.put(SHOP, wants(check="now"))
    demands.remake(SOURCE)
    assert demands.on(SOURCE) == {APP: wants(latest=True, check="now"), SHOP: wants(check="now")}


def test_nothing_is_demanded_of_a_source_that_is_gone() -> None:
    demands = Demands()
    demands.put(APP, wants(check="now"))
    demands.answer(SOURCE, demands.on(SOURCE), (), held=True)
    demands.put(APP, wants("a"))
    assert demands.drop(SOURCE) == {APP}
    assert demands.on(SOURCE) == {}
    assert not demands.checked(SOURCE, APP, "now")


DEMAND = st.one_of(
    st.none(),
    st.builds(
        Demand,
        st.sampled_from([SOURCE, OTHER]),
        st.frozensets(st.sampled_from("ab")),
        st.booleans(),
        st.sampled_from([None, "now", "later"]),
    ),
)


@given(st.lists(st.tuples(st.sampled_from([APP, SHOP]), DEMAND)))
def test_the_last_word_of_each_sync_counts(words: list[tuple[SyncKey, Demand | None]]) -> None:
    demands, last = Demands(), dict[SyncKey, Demand]()
    for sync, demand in words:
        demands.put(sync, demand)
        if demand is None or not demand.adds(None):
            last.pop(sync, None)
        else:
            last[sync] = demand
    assert demands.on(SOURCE) | demands.on(OTHER) == last
