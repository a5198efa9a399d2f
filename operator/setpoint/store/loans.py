"""Decides for how long what left Git is kept for another Sync that wants it (pure).

An object is lent until the other Sync has written it. One that cannot, or does not, would keep it for ever: after ten
minutes it is the former owner's again, to prune as usual. A new commit of the other begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from setpoint.objects.identity import ObjectId, SyncKey

LOAN_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Loan:
    """For whom an object is kept, for which commit of it (`digest` of its target), and since when.

    `told`: whether both Syncs know that it is over.
    """

    by: SyncKey
    digest: str
    since: float
    told: bool = False

    def over(self, now: float) -> bool:
        """Return whether it has lasted long enough; times are in seconds of the event loop's clock."""
        return now >= self.since + LOAN_SECONDS


Loans = Mapping[ObjectId, Loan]


def counted(
    loans: Loans, wanted: Mapping[ObjectId, SyncKey], digests: Mapping[SyncKey, str], now: float
) -> Loans:
    """Return the loans of a Sync now: `wanted` is what others want of what it leaves, `digests` what they aim at."""
    fresh = {o: Loan(by, digests.get(by, ""), now) for o, by in wanted.items()}
    return {
        o: old if (old := loans.get(o)) is not None and (old.by, old.digest) == (new.by, new.digest) else new
        for o, new in fresh.items()
    }


def kept(loans: Loans, now: float) -> Mapping[ObjectId, SyncKey]:
    """Return what is kept for others, with whom."""
    return {o: loan.by for o, loan in loans.items() if not loan.over(now)}


def left(loans: Loans, now: float) -> float | None:
    """Return after how many seconds the next loan is over; None if none will be."""
    return min(
        (loan.since + LOAN_SECONDS - now for loan in loans.values() if not loan.over(now)), default=None
    )
