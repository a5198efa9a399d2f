"""Commits as the broker knows them: where they come from, and which are there; what is in them readers say (async shell)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from setpoint.api.reasons import Problem, Reason
from setpoint.git.credentials import Credentials
from setpoint.git.fetching import Fetching
from setpoint.git.links import Link, Pins
from setpoint.git.refs import Selected
from setpoint.git.remotes import Repository, parse_url
from setpoint.runtime.lru import Lru
from setpoint.wall.inside import Describe, Described, Linked, Links, Pinned, Told
from setpoint.wall.limits import MAX_REVISION
from setpoint.wall.messages import Check, Checked, Failed, Fetch, Fetched, GitRef, Lost, Place
from setpoint.worker.child import Child, Key
from setpoint.worker.readers import Readers

MAX_HANDLES: Final = 10_000
"""Repositories that are remembered by their handles; one that is not is lost, and checked again."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A commit that was there, and the generations of mirrors that it was in: as long as these are the ones to read, it is there."""

    described: Described
    generations: tuple[str, ...]


class Commits:
    """Knows which repository a handle stands for, with its login, which the operator gives with each check alone."""

    def __init__(self, fetching: Fetching, readers: Readers, *, allow_file: bool) -> None:
        """`allow_file`: whether a URL may be that of a local folder."""
        self._fetching, self._readers, self._allow_file = fetching, readers, allow_file
        self._repositories: Lru[str, Repository] = Lru(MAX_HANDLES)
        self._over: Lru[tuple[str, str, bool], str] = Lru(MAX_HANDLES)
        self._known: Lru[tuple[str, str, bool], _Known] = Lru(MAX_HANDLES)

    # --- what the operator asks

    async def check(self, request: Check) -> Checked | Failed:
        """Ask the remote where the ref is, and fetch that commit if the cache does not have it."""
        place = request.place
        try:
            repository = self._repository(place)
            selected = await self._fetching.resolve(repository, request.ref, place.timeout)
            kept = self._fetching.kept(self._fetching.handle(repository), selected.sha)
            found = await self._described(repository, selected.sha, place) if kept else None
            if found is None:
                selected = await self._fetch(repository, request.ref, selected, place)
                found = await self._described(repository, selected.sha, place)
            handle = self.handle(repository)
        except Problem as problem:
            return Failed.of(problem)
        if len(selected.revision) > MAX_REVISION:
            return Failed(Reason.GitFailed, f"the ref has a name of more than {MAX_REVISION:,} characters")
        shown = (found.subject, found.author, found.time) if found else ("", "", "")
        return Checked(handle, selected.sha, selected.revision, *shown, found is not None)

    async def fetch(self, request: Fetch) -> Fetched | Lost | Failed:
        """Find a commit in the cache, or at the server if that may be asked."""
        place, sha = request.place, request.sha
        try:
            repository = self._repository(place)
            if await self._described(repository, sha, place) is None:
                if not request.remote:
                    return Lost()
                ref = GitRef(commit=sha)
                selected = await self._fetching.resolve(repository, ref, place.timeout)
                await self._fetch(repository, ref, selected, place)
                if await self._described(repository, sha, place) is None:
                    return Failed(Reason.CacheFull, f"the cache does not keep commit {sha[:12]}")
            return Fetched(self.handle(repository))
        except Problem as problem:
            return Failed.of(problem)

    def handle(self, repository: Repository) -> str:
        """Return the handle of a repository, and remember it. Raises Problem if the cache cannot be used."""
        handle = self._fetching.handle(repository)
        self._repositories.put(handle, repository)
        return handle

    def forget(self, namespace: str, handles: Iterable[str]) -> None:
        """Forget repositories of a namespace, with their logins: a Source is gone, or has another login."""
        for handle in handles:
            if handle.startswith(f"{namespace}/"):
                self._repositories.drop(handle)
                self._fetching.forget(namespace)

    # --- what readers are asked, and told

    def reader(self, namespace: str, handle: str, told: Iterable[Told] = ()) -> Key:
        """Return which reader reads a commit for a namespace: of another's, it sees the mirrors that the commit is in, and no other."""
        mirror = self._fetching.mirror(handle)
        if namespace == mirror.namespace:
            return Key(namespace, (str(mirror.path.parent),))
        handles = {handle, *(pin.handle for each in told for pin in each.pins)}
        return Key(namespace, tuple(sorted(str(self._fetching.mirror(each).path) for each in handles)))

    async def told(self, handle: str, sha: str, *, submodules: bool) -> tuple[Told, ...] | None:
        """Return what a reader must be told before it reads a commit; None if the commit is not there (any more). Raises Problem."""
        repository = self._repositories.get(handle)
        if repository is None or self._fetching.mirror(handle).current() is None:
            return None
        self._fetching.used(handle, sha)
        return _told(await self._pins(repository, sha)) if submodules else ()

    async def held(self, handle: str, sha: str, *, submodules: bool) -> tuple[Told, ...] | None:
        """Return what `told` does; None also if the commit itself is not there. Raises Problem."""
        told = await self.told(handle, sha, submodules=submodules)
        if told is None or await self._describe(handle, sha, told, submodules=submodules) is None:
            return None
        return told

    def lost(self, handle: str, sha: str, told: Iterable[Told]) -> None:
        """Note that a reader did not find a commit, or what it pins: who asks next looks again."""
        for each in ((handle, sha), *((pinned.handle, pinned.sha) for pinned in told)):
            for submodules in (True, False):
                self._known.drop((*each, submodules))

    async def links(self, repository: Repository, sha: str) -> tuple[Link, ...]:
        """List the submodules that a commit names. Raises Problem, also if it is not there."""
        handle = self._fetching.handle(repository)
        answer = await self._asked(handle, Links(handle, sha))
        if not isinstance(answer, Linked):
            raise _failed(answer, sha)
        return tuple(Link(each.path, each.url, each.sha) for each in answer.submodules)

    async def holds(self, repository: Repository, sha: str) -> bool:
        """Return whether a commit is there, apart from its submodules. Raises Problem if nobody can say."""
        return await self._describe(self._fetching.handle(repository), sha, ()) is not None

    # --- within

    async def _described(self, repository: Repository, sha: str, place: Place) -> Described | None:
        """Describe a commit; None if not all of it is there."""
        handle = self._fetching.handle(repository)
        try:
            told = _told(await self._pins(repository, sha)) if place.submodules else ()
        except _Missing:
            return None
        return await self._describe(handle, sha, told, submodules=place.submodules)

    async def _describe(
        self, handle: str, sha: str, told: tuple[Told, ...], *, submodules: bool = False
    ) -> Described | None:
        names = {handle, *(pin.handle for each in told for pin in each.pins)}
        generations = tuple(self._generation(each) for each in sorted(names))
        key = handle, sha, submodules
        if not all(generations):
            return None
        known = self._known.get(key)
        if known is None or known.generations != generations:
            answer = await self._asked(handle, Describe(handle, sha, submodules), told)
            if isinstance(answer, Lost):
                return None
            if not isinstance(answer, Described):
                raise _failed(answer, sha)
            known = self._known.put(key, _Known(answer, generations), 1)
        for each in told or (Told(handle, sha, ()),):
            self._fetching.used(each.handle, each.sha)
        return known.described

    def _generation(self, handle: str) -> str:
        current = self._fetching.mirror(handle).current()
        return "" if current is None else str(current)

    async def _pins(self, repository: Repository, sha: str) -> Pins:
        return await self._fetching.pins(repository, sha, self)

    async def _asked(self, handle: str, request: Any, told: Iterable[Told] = ()) -> Any:
        async def ask(child: Child) -> Any:
            await child.tell(told)
            return await child.caller.call(request)

        try:
            return await self._readers.use(self.reader(handle.partition("/")[0], handle), ask)
        except Problem as problem:
            raise _Unread(problem.reason, problem.message, problem.retry) from None

    async def _fetch(self, repository: Repository, ref: GitRef, selected: Selected, place: Place) -> Selected:
        """Fetch a commit, unless it was over a budget before: then it would be again."""
        key = self._fetching.handle(repository), selected.sha, place.submodules
        if (known := self._over.get(key)) is not None:
            raise Problem(Reason.TooLarge, known)
        try:
            links = self if place.submodules else None
            return await self._fetching.fetch(repository, ref, selected, place.timeout, links)
        except Problem as problem:
            lasting = not (problem.transient or isinstance(problem, _Unread))
            if problem.reason is Reason.TooLarge and lasting:
                self._over.put(key, problem.message, 1)
            raise

    def _repository(self, place: Place) -> Repository:
        remote = parse_url(place.url, allow_file=self._allow_file)
        return Repository(remote, Credentials(**asdict(place.login)), place.namespace)


class _Unread(Problem):
    """A reader that died of a question, perhaps of others beside it: that says nothing of what the server sends."""


class _Missing(Problem):
    """A commit that is not there (any more)."""


def _failed(answer: Any, sha: str) -> Problem:
    """Return why a reader could not say anything of a commit."""
    if isinstance(answer, Failed):
        return answer.problem()
    return _Missing(
        Reason.GitFailed, f"commit {sha[:7]} is not in the cache; it is fetched again", retry=True
    )


def _told(pins: Pins) -> tuple[Told, ...]:
    return tuple(
        Told(handle, sha, tuple(Pinned(each.path, each.handle, each.sha) for each in found))
        for (handle, sha), found in pins.items()
    )
