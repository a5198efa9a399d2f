"""What memory holds is for what is, not for what was: rendered manifests, and the cache they lie in."""

from __future__ import annotations

from dataclasses import replace

import yaml
from tests.kit.samples import baseline, oid, ref, target

from setpoint.api.sync import IgnoreRule, IgnoreTarget
from setpoint.objects.identity import ObjectId
from setpoint.plan.drift import Choice
from setpoint.runtime.lru import Lru
from setpoint.syncs.memory import Account, Built, SeenCommit, Superseded
from setpoint.syncs.target import Target


def made_of(inputs: str) -> Target:
    made = target(digest=f"t-{inputs}")
    return replace(made, inputs=inputs)


def test_manifests_stay_at_hand_for_the_target_and_for_what_is_enforced() -> None:
    one, broken, two = made_of("one"), made_of("broken"), made_of("two")
    built, gone = Built().released()
    assert not gone
    built, gone = replace(built, target=one, good=one).released()
    assert not gone
    built, gone = replace(built, target=broken).released()
    assert not gone
    built, gone = replace(built, target=two).released()
    assert gone == Superseded(frozenset({"broken"}))
    built, gone = replace(built, good=two).released()
    assert gone == Superseded(frozenset({"one"}))
    built, gone = built.released()
    assert not gone
    assert built.released(ends=True)[1] == Superseded(frozenset({"two"}))


def test_only_the_last_look_is_remembered() -> None:
    built = Built().looking().noting("r1")
    built, gone = built.released()
    assert (built.read_set, bool(gone)) == ("r1", False)
    assert built.looking().read_set == "", "a look that breaks off found nothing to rely on"
    built, gone = built.looking().noting("r2").looking().noting("r3").released()
    assert gone == Superseded(read_sets=frozenset({"r1", "r2"}))
    built, gone = built.looking().noting("").released()
    assert gone == Superseded(read_sets=frozenset({"r3"}))
    built, gone = built.noting("r4").released(ends=True)
    assert gone == Superseded(read_sets=frozenset({"r4"}))


def test_a_commit_is_looked_at_again_only_after_another_look() -> None:
    built, found = Built(), replace(target(digest="t"), sha="a")
    assert not built.stands("a", submodules=False)
    built = Built(found, looked=("a", False, "t"))
    assert built.stands("a", submodules=False)
    assert not built.stands("a", submodules=True)
    assert not built.stands("b", submodules=False)
    built = Built(found)  # a look at another commit, or with another spec, that failed
    assert not built.stands("a", submodules=False)
    built = Built(found, looked=("b", False, "u"))  # one that was not rendered
    assert not built.stands("a", submodules=False)
    assert not built.stands("b", submodules=False)


def test_a_commit_that_was_skipped_was_not_looked_at() -> None:
    built = Built(replace(target(digest="t"), sha="a"), looked=("a", False, "t")).moved("a", "b")
    assert built.target is not None
    assert built.target.sha == "b"
    assert not built.stands("b", submodules=False)
    built = Built(replace(target(digest="t"), sha="a"), looked=("a", False, "t")).moved("a", "a")
    assert built.stands("a", submodules=False), "a check that found nothing new is no step"


def test_several_commits_that_were_skipped_are_one_step() -> None:
    seen = SeenCommit(("a", 1)).move("b").move("c")
    assert (seen.evaluated, seen.moved) == (("c", 1), ("a", "c"))
    assert SeenCommit().move("b") == SeenCommit(), "what was never evaluated stands nowhere"


def test_a_correction_of_long_ago_counts_no_more() -> None:
    account = Account().corrected({oid("a"): ""}, 0.0).corrected({oid("a"): ""}, 61.0)
    assert account.corrections == {oid("a"): (61.0,)}


def test_who_fights_is_remembered_until_the_object_is_looked_at_again() -> None:
    account = Account(opponents={oid("a"): "hpa"}).backing_off(Choice(backed_off={oid("a"): 9.0}))
    words = "hpa undoes every correction of ConfigMap/shop/a; Setpoint backs off for a minute"
    assert account.fights == {oid("a"): words}
    assert account.backing_off(Choice()) == account
    assert account.backing_off(Choice(todo=(ref("a"),))).fights == {}


def test_the_fields_of_a_fight_are_named_with_the_rule_that_ends_it() -> None:
    web, image = ObjectId("apps", "Deployment", "shop", "web"), "/spec/containers/[name=app]/image"
    account = Account().corrected({web: "hpa"}, 0.0, {web: ("/spec/replicas",)})
    account = account.corrected({web: "hpa"}, 1.0, {web: (image, "/spec/replicas")})
    words = account.fight_words(web)
    assert f"hpa undoes every correction of Deployment/shop/web at /spec/replicas, {image};" in words
    rule = yaml.safe_load(words.partition("spec.ignore: ")[2])
    assert IgnoreRule.model_validate(rule) == IgnoreRule(
        target=IgnoreTarget(group="apps", kind="Deployment", name="web"), paths=("/spec/replicas", image)
    )
    later = account.corrected({web: "hpa"}, 100.0, {web: ("/spec/paused",)})
    assert later.disputed[web] == ("/spec/paused",), "an older correction was no part of this fight"


def test_no_rule_is_named_for_what_no_rule_ends() -> None:
    mark = "/metadata/labels/setpoint.dev~1sync"
    account = Account().corrected({oid("a"): "x"}, 0.0, {oid("a"): (mark,)})
    assert account.fight_words(oid("a")).endswith(f"at {mark}; Setpoint backs off for a minute")
    four = account.corrected({oid("b"): "x"}, 0.0, {oid("b"): ("/a", "/b", "/c", "/d")})
    assert "at /a, /b, /c and 1 more; " in four.fight_words(oid("b"))


def test_nothing_is_remembered_of_what_is_a_syncs_no_more() -> None:
    account = Account(baselines={oid("a"): baseline(), oid("b"): baseline()})
    assert account.let_go([oid("a"), oid("c")]).baselines.keys() == {oid("b")}


def test_what_was_written_before_is_known_after_a_restart_too() -> None:
    refs = (ref("a"), ref("b"))
    seen = Account(baselines={oid("a"): baseline()}).written(refs, whole=True)
    assert (oid("a") in seen, oid("b") in seen) == (True, False)
    assert oid("b") in Account().written(refs, whole=True)
    assert oid("b") not in Account().written(refs, whole=False)


def test_what_is_dropped_makes_room() -> None:
    cache: Lru[str, str] = Lru(10)
    cache.put("a", "A", 6)
    cache.drop("a")
    cache.drop("a")
    assert cache.get("a") is None
    cache.put("b", "B", 6)
    cache.put("c", "C", 4)
    assert (cache.get("b"), cache.get("c"), len(cache)) == ("B", "C", 2)
    cache.put("d", "D", 1)
    assert (cache.get("b"), len(cache)) == (None, 2)
