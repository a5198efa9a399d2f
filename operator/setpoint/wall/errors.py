"""What can go wrong between operator and worker (pure). What goes wrong with a request is an answer: `messages.Failed`."""

from __future__ import annotations


class ProtocolError(Exception):
    """The other side broke the protocol; the text says how, and never quotes what it sent."""


class WorkerGone(Exception):
    """The worker ended, or is not there yet: ask again once it has said that it is."""


class WorkerAway(WorkerGone):
    """The worker has not been there for a while: one that died comes back at once, so this is worth telling."""
