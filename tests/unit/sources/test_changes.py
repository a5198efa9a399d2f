"""A step between two commits spares the looks that it was asked about, and no later ones."""

from __future__ import annotations

from setpoint.objects.identity import SyncKey
from setpoint.sources.changes import EVERYTHING, NOTHING, Changes

APP, OTHER = SyncKey("team", "app"), SyncKey("team", "other")


def test_who_was_spared_may_have_looked_again_since() -> None:
    changes = Changes({APP: "r1"})
    assert changes.spares(APP, "r1")
    assert not changes.spares(APP, "r2")
    assert not changes.spares(OTHER, "r1")


def test_everything_spares_nobody_and_nothing_everybody_who_looked() -> None:
    assert not EVERYTHING.spares(APP, "r1")
    assert NOTHING.spares(APP, "r1")
    assert not NOTHING.spares(APP, "")
