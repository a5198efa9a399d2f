"""The client of the API server: each verb on plain dicts.

The official client provides configuration and TLS (`kubeconfig`). The requests are our own, because its typed models drop
unknown fields and its watch loses in-stream errors. An object's `last-applied-configuration` is dropped on
receipt: it holds Secret values in plain text.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Self

from setpoint.api import names
from setpoint.kube import requests
from setpoint.kube.bodies import Bodies
from setpoint.kube.errors import ApiError, error_of_status, is_absence, warning_texts
from setpoint.kube.kubeconfig import endpoint_of
from setpoint.kube.requests import Request, Selection
from setpoint.kube.transport import SILENCE_SECONDS, Fence, Response, Transport
from setpoint.objects import kinds
from setpoint.objects.kinds import Catalog, Kind

Json = dict[str, Any]
PAGE = 500
WATCH_SECONDS = (300, 600)


@dataclass(frozen=True, slots=True)
class Written:
    """What a server-side apply made of a manifest; `created` if the object was not there before."""

    object: Json
    created: bool
    warnings: tuple[str, ...]


class Cluster:
    """One API server. Every verb raises ApiError; writes raise Fenced when we no longer lead."""

    def __init__(
        self, transport: Transport, *, fence: Fence | None = None, field_validation: str = "Warn"
    ) -> None:
        self._transport = transport
        self._fence = fence
        self._field_validation = field_validation
        self._shared = _Shared()

    @classmethod
    async def connect(
        cls,
        kubeconfig: str | None,
        *,
        user_agent: str,
        request_timeout: float = 30,
        fence: Fence | None = None,
        field_validation: str = "Warn",
        watch_silence: float = SILENCE_SECONDS,
        count: Callable[[str, int], None] | None = None,
    ) -> Self:
        """Make a connection; without a kubeconfig by $KUBECONFIG, else as a pod, else by ~/.kube/config.

        `field_validation` is what an apply does about unknown fields (Warn, Strict, Ignore); `count(verb, code)`
        is called for each answer, with code 0 when none came; a watch without a byte for `watch_silence` seconds is
        dead. Raises ApiError (status 0) without a usable configuration.
        """
        endpoint = await endpoint_of(kubeconfig)
        transport = Transport(
            endpoint,
            user_agent=user_agent,
            timeout=request_timeout,
            silence=watch_silence,
            count=count or _uncounted,
        )
        return cls(transport, fence=fence, field_validation=field_validation)

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return self._transport.endpoint.server

    def fenced(self, fence: Fence | None) -> Cluster:
        """Return the same connection and the same kinds, with another fence around writes, or none."""
        other = Cluster(self._transport, fence=fence, field_validation=self._field_validation)
        other._shared = self._shared
        return other

    async def settled(self) -> None:
        """Wait for the answers to all fenced writes, also to those whose callers have gone."""
        while writes := self._shared.writes:
            await asyncio.wait(writes)

    def reconnect(self) -> None:
        """Open new connections for what is sent from now on, because those there are seem to be dead."""
        self._transport.reconnect()

    async def login(self) -> Json:
        """Return how we are let in, in the words of `kopf.ConnectionInfo`, which is asked again when this expires."""
        return await self._transport.endpoint.login()

    async def close(self) -> None:
        """Close all connections, also of `fenced` ones; writes that are under way end unanswered."""
        for write in self._shared.writes:
            write.cancel()
        await asyncio.gather(*self._shared.writes, return_exceptions=True)
        await self._transport.close()

    # --- kinds

    async def discover(self) -> bool:
        """Read what kinds the cluster has; True if anything changed."""
        core, groups = await asyncio.gather(*(self._discovered(path) for path in ("/api", "/apis")))
        if kinds.is_aggregated(core) and kinds.is_aggregated(groups):
            catalog = kinds.from_aggregated((core, groups))
        else:
            pairs = kinds.legacy_versions(core, groups)
            answers = await asyncio.gather(*(self._legacy(*pair) for pair in pairs))
            catalog = kinds.from_legacy(dict(zip(pairs, answers, strict=True)))
        catalog = catalog.after(self._shared.catalog)
        changed = catalog != self._shared.catalog
        self._shared.catalog = catalog
        return changed

    async def _discovered(self, path: str) -> Json:
        return await self._parsed(
            await self._transport.send(Request("discover", "GET", path, accept=kinds.AGGREGATED))
        )

    async def _legacy(self, group: str, version: str) -> Json | None:
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            return await self._parsed(await self._transport.send(Request("discover", "GET", path)))
        except ApiError as error:
            if error.status in (404, 503):  # an APIService without a working server
                return None
            raise

    @property
    def broken_groups(self) -> frozenset[str]:
        """API groups of which a version did not answer, so that its kinds may be out of date."""
        return frozenset(group for group, _ in self._shared.catalog.broken)

    def kind(self, api_version: str, kind: str) -> Kind | None:
        """Return a kind at exactly that version; None if the cluster does not serve it."""
        return self._shared.catalog.kind(api_version, kind)

    def kind_of_group(self, group: str, kind: str) -> Kind | None:
        """Return a kind at the version that the server prefers."""
        return self._shared.catalog.preferred(group, kind)

    def kinds_named(self, kind: str) -> tuple[Kind, ...]:
        """Return the kinds of that name in all groups and versions, preferred versions first."""
        return self._shared.catalog.named(kind)

    def listable(self) -> tuple[Kind, ...]:
        """Return all kinds, each once at the preferred version, that can be listed and deleted."""
        first = {(k.group, k.kind): k for k in reversed(self._shared.catalog.kinds)}
        return tuple(k for k in first.values() if {"list", "delete"} <= k.verbs)

    async def version(self) -> str:
        """Return the server's version, such as `v1.36.3`."""
        answer = await self._parsed(await self._transport.send(Request("get", "GET", "/version")))
        return str(answer["gitVersion"])

    # --- objects

    async def get(
        self, kind: Kind, namespace: str | None, name: str, *, user: str | None = None
    ) -> Json | None:
        """Read an object as `user` (or ourselves); None if it does not exist, ApiError 404 if the kind is not served."""
        try:
            response = await self._transport.send(requests.read(kind, namespace, name, user))
        except ApiError as error:
            if is_absence(error):
                return None
            raise
        return _received(await self._parsed(response), kind)

    async def apply(
        self,
        kind: Kind,
        manifest: Mapping[str, Any],
        *,
        user: str | None = None,
        dry_run: bool = False,
        force: bool = True,
    ) -> Written:
        """Server-side apply as field manager `setpoint`; a dry run gives what the server would make of it.

        A manifest with a uid is for that object: ApiError 409 if it is gone, or another has its name.
        """
        request = requests.apply(
            kind,
            manifest,
            user,
            field_validation=self._field_validation,
            force=force,
            dry_run=dry_run,
        )
        try:
            response = await self._write(request, dry_run=dry_run)
        except ApiError as error:
            raise _uid_conflict(error) from None
        warnings = warning_texts(response.warnings, secret=request.secret)
        return Written(_received(await self._parsed(response), kind), response.status == 201, warnings)

    async def patch(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        operations: Sequence[Mapping[str, Any]],
        *,
        subresource: str | None = None,
        user: str | None = None,
        dry_run: bool = False,
    ) -> Json:
        """JSON Patch (RFC 6902) as field manager `setpoint`; a failed `test` is ApiError 422."""
        request = requests.patch(
            kind, namespace, name, operations, user, subresource=subresource, dry_run=dry_run
        )
        return _received(await self._parsed(await self._write(request, dry_run=dry_run)), kind)

    async def create(self, kind: Kind, manifest: Mapping[str, Any], *, user: str | None = None) -> Json:
        """Create an object; ApiError 409 (AlreadyExists) if there is one."""
        return _received(await self._parsed(await self._write(requests.create(kind, manifest, user))), kind)

    async def delete(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        *,
        uid: str,
        version: str = "",
        propagation: str = "Background",
        user: str | None = None,
    ) -> bool:
        """Delete exactly the object with that uid; False if it is gone already, or another has its name.

        `version`: only as it is at that resourceVersion, else ApiError 409. ApiError 404 if the kind is not served,
        which tells nothing of the object.
        """
        request = requests.delete(
            kind, namespace, name, user, uid=uid, version=version, propagation=propagation
        )
        try:
            await self._write(request)
        except ApiError as error:
            if is_absence(error) or (error.status == 409 and "UID in the precondition" in error.message):
                return False
            if error.status == 409 and kind.kind == "Namespace" and "content is removed" in error.message:
                return True  # it is terminating already
            raise
        return True

    async def pages(
        self, what: Selection, *, user: str | None = None, limit: int = PAGE
    ) -> AsyncGenerator[tuple[list[Json], str], None]:
        """Read a list page by page, so that never all of it is in memory; ApiError 410 if it took too long.

        Each page comes with the resourceVersion that the whole list is of. Close it with `aclosing`.
        """
        token = None
        while True:
            document = await self._parsed(
                await self._transport.send(requests.page(what, user, limit=limit, token=token))
            )
            meta = document.get("metadata") or {}
            items = [_received(obj, what.kind) for obj in document.get("items") or ()]
            yield items, meta.get("resourceVersion", "")
            token = meta.get("continue")
            if not token:
                return

    async def list(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        metadata_only: bool = False,
        user: str | None = None,
    ) -> tuple[list[Json], str]:
        """Read all objects of a kind, and the resourceVersion that the list is of."""
        what = Selection(kind, namespace, label_selector, metadata_only)
        try:
            pages = [page async for page in self.pages(what, user=user, limit=PAGE)]
        except ApiError as error:
            if error.status != 410:
                raise
            # It outlived its snapshot: read it again in one piece.
            pages = [page async for page in self.pages(what, user=user, limit=0)]
        return [obj for items, _ in pages for obj in items], pages[-1][1]

    async def watch(
        self,
        kind: Kind,
        *,
        resource_version: str,
        namespace: str | None = None,
        label_selector: str | None = None,
        metadata_only: bool = False,
        name: str | None = None,
    ) -> AsyncGenerator[tuple[str, Json], None]:
        """Return (ADDED | MODIFIED | DELETED | BOOKMARK, object) after that version; close it with `aclosing`.

        It ends after some minutes, or when the connection dies: resume from the last version seen. An ERROR in
        the stream raises ApiError; 410 means that the version is too old: list again.
        """
        seconds = random.randint(*WATCH_SECONDS)  # noqa: S311 - spreads the load
        what = Selection(kind, namespace, label_selector, metadata_only, name)
        request = requests.watch(what, resource_version=resource_version, seconds=seconds)
        stream = self._transport.stream(request, seconds=seconds)
        async with aclosing(stream) as lines:
            async for line in lines:
                event = await self._shared.bodies.read(line)
                if event["type"] == "ERROR":
                    raise error_of_status(event["object"], secret=request.secret)
                yield event["type"], _received(event["object"], kind)

    async def _parsed(self, response: Response) -> Json:
        return await self._shared.bodies.read(response.body)

    async def _write(self, request: Request, *, dry_run: bool = False) -> Response:
        if dry_run or self._fence is None:  # a dry run changes nothing, so it needs no leader
            return await self._transport.send(request)
        # Not ended with its caller: whether the server did it would be unknown when the leadership is given up.
        sending = asyncio.create_task(self._transport.send(request, self._fence))
        self._shared.writes.add(sending)
        sending.add_done_callback(self._shared.answered)
        return await asyncio.shield(sending)


@dataclass(slots=True)
class _Shared:
    """What the fenced views of one connection share: the kinds, and the fenced writes under way."""

    catalog: Catalog = field(default_factory=Catalog)
    writes: set[asyncio.Task[Response]] = field(default_factory=set)
    bodies: Bodies = field(default_factory=Bodies)

    def answered(self, write: asyncio.Task[Response]) -> None:
        """Forget a write; its error, if any, is its caller's, who may have gone."""
        self.writes.discard(write)
        if not write.cancelled():
            write.exception()


def _uid_conflict(error: ApiError) -> ApiError:
    """Return a wrong uid of an object that exists as what it is; the server says that a uid is immutable."""
    if error.status == 422 and any(cause.field == "metadata.uid" for cause in error.causes):
        return ApiError(409, "Conflict", "another object has this name now")
    return error


def _uncounted(_verb: str, _code: int) -> None:
    """Count nothing."""


def _received(obj: Json, kind: Kind) -> Json:
    """Name an object's kind (lists leave it out, metadata has another) and drop what kubectl copied into it.

    The dict was parsed a moment ago and nobody else has it, so it is changed in place.
    """
    if obj.get("kind") != "Status":
        obj["apiVersion"], obj["kind"] = kind.api_version, kind.kind
    annotations = (obj.get("metadata") or {}).get("annotations")
    if annotations:
        annotations.pop(names.ANNOTATION_LAST_APPLIED, None)
    return obj
