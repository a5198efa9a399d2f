"""For how long what left Git is kept for another Sync."""

from __future__ import annotations

from tests.kit.samples import oid

from setpoint.objects.identity import SyncKey
from setpoint.store.loans import LOAN_SECONDS, Loan, Loans, counted, kept, left

A, B = oid("a"), oid("b")
ONE, TWO = SyncKey("team", "one"), SyncKey("elsewhere", "two")
NONE: Loans = {}


def test_a_loan_lasts_ten_minutes_and_begins_anew_with_a_commit_of_who_wants_it() -> None:
    loans = counted(NONE, {A: ONE, B: TWO}, {ONE: "c1"}, 100.0)
    assert loans == {A: Loan(ONE, "c1", 100.0), B: Loan(TWO, "", 100.0)}
    loans = counted(loans, {A: ONE, B: TWO}, {ONE: "c1", TWO: "c1"}, 400.0)
    assert loans == {A: Loan(ONE, "c1", 100.0), B: Loan(TWO, "c1", 400.0)}
    assert left(loans, 400.0) == LOAN_SECONDS - 300.0
    late = 100.0 + LOAN_SECONDS
    assert kept(loans, late) == {B: TWO}
    assert left(loans, late) == 300.0
    assert kept(counted(loans, {A: ONE}, {ONE: "c1"}, late), late) == {}
    assert kept(counted(loans, {A: ONE}, {ONE: "c2"}, late), late) == {A: ONE}
    assert kept(counted(loans, {A: TWO}, {TWO: "c1"}, late), late) == {A: TWO}


def test_who_wants_it_no_more_ends_it() -> None:
    loans = counted(counted(NONE, {A: ONE}, {}, 0.0), {}, {}, 1.0)
    assert loans == {}
    assert left(loans, 1.0) is None
