"""Selects the commit that a Source means: its `ref` against the list of the remote (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from setpoint.api.reasons import Problem, Reason
from setpoint.git.semver import highest
from setpoint.wall.messages import GitRef

PEELED = "^{}"
TAGS = "refs/tags/"
_SHA = re.compile(r"[0-9a-f]{40}")
# What git-check-ref-format(1) forbids, as far as it could change the meaning of a refspec.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/$|\.lock(/|$)|\.$|(^|/)\.")


@dataclass(frozen=True, slots=True)
class Head:
    """One line of ls-remote: a full ref name (a tag's commit has `^{}` behind it) and 40 hex digits."""

    name: str
    sha: str


@dataclass(frozen=True, slots=True)
class Selected:
    """What a ref stands for now: `ref` to ask the server for, the commit's `sha`, `revision` for people.

    `revision` is `main@sha1:<40 hex>`; `sha1:<40 hex>` for a commit without a branch.
    """

    ref: str
    sha: str
    revision: str


def select(ref: GitRef, heads: Sequence[Head], head_target: str | None) -> Selected:
    """Choose from a listing; `head_target` is the ref that HEAD points to, if the server says so.

    Problem: RefNotFound, RepositoryEmpty (nothing is listed), InvalidSpec (a name that no ref can have).
    """
    if not heads:
        raise Problem(Reason.RepositoryEmpty, "the repository has no commits; push a first one")
    listed = {head.name: head.sha for head in heads}
    if ref.commit:
        return _commit(ref, listed, head_target)
    full, short = _wanted(ref, listed, head_target)
    if full not in listed:
        raise _absent(full, short, ref)
    return at(full, short, listed.get(full + PEELED, listed[full]))


def at(full: str, short: str, sha: str) -> Selected:
    """Make the selection of a ref that stands at a commit."""
    return Selected(full, sha, f"{short}@sha1:{sha}" if short else f"sha1:{sha}")


def moved(selected: Selected, sha: str) -> Selected:
    """Return the same selection at another commit: the ref moved before it was fetched."""
    return at(selected.ref, selected.revision.rpartition("@")[0], sha)


def _wanted(ref: GitRef, listed: Mapping[str, str], head_target: str | None) -> tuple[str, str]:
    """Return the full ref and the name people know it by."""
    if ref.branch:
        return f"refs/heads/{_checked('branch', ref.branch)}", ref.branch
    if ref.tag:
        return f"refs/tags/{_checked('tag', ref.tag)}", ref.tag
    if ref.name:
        if not ref.name.startswith("refs/"):
            raise Problem(Reason.InvalidSpec, f"spec.ref.name: {ref.name!r} does not start with refs/")
        return _checked("name", ref.name), ref.name
    if ref.semver:
        tag = _in_range(ref.semver, listed)
        return f"refs/tags/{tag}", tag
    target = _head(listed, head_target)
    return target, target.removeprefix("refs/heads/")


def _in_range(text: str, listed: Mapping[str, str]) -> str:
    names = [n.removeprefix(TAGS) for n in listed if n.startswith(TAGS) and not n.endswith(PEELED)]
    tag = highest(text, names)
    if not tag:
        raise Problem(Reason.RefNotFound, f"none of the {len(names)} tags fits the range {text}")
    return tag


def _head(listed: Mapping[str, str], head_target: str | None) -> str:
    if "HEAD" not in listed:
        raise Problem(
            Reason.RefNotFound,
            "the remote's HEAD points to no commit; name a branch in spec.ref.branch",
        )
    # The server names the target: one that could change the meaning of a refspec is not asked for.
    usable = head_target is not None and head_target in listed and not _FORBIDDEN.search(head_target)
    return head_target if head_target and usable else "HEAD"


def _commit(ref: GitRef, listed: Mapping[str, str], head_target: str | None) -> Selected:
    commit = ref.commit or ""
    if not _SHA.fullmatch(commit):
        raise Problem(Reason.InvalidSpec, f"spec.ref.commit: {commit!r} is not 40 hex digits")
    if ref.branch:
        full = f"refs/heads/{_checked('branch', ref.branch)}"
        if full not in listed:
            raise _absent(full, ref.branch, ref)
        return at(full, ref.branch, commit)
    # Where a server hands out no commit by its id, it is looked for below this ref.
    named = next((n for n, sha in listed.items() if sha == commit and not _FORBIDDEN.search(n)), None)
    return at(named or _head(listed, head_target), "", commit)


def _checked(field: str, name: str) -> str:
    if _FORBIDDEN.search(name) or name.startswith(("/", "-")):
        raise Problem(Reason.InvalidSpec, f"spec.ref.{field}: {name!r} cannot be the name of a ref")
    return name


def _absent(full: str, short: str, ref: GitRef) -> Problem:
    kind = "branch" if ref.branch else "tag" if ref.tag else "ref"
    shown = short if kind != "ref" else full
    return Problem(Reason.RefNotFound, f"{kind} {shown} does not exist in the repository (any more)")
