"""A small API server that is honest where a deployer can go wrong.

Server-side apply with owners of fields and conflicts, versions, preconditions, fields that never change, watches that
are cut, too old or bookmarked, RBAC; and faults: busy, broken, cut before or after the deed, restarted.
"""

import asyncio
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientConnectionResetError, web

from tests.deployer.kubernetes.applying import ConflictError, Object, Owners, applied, leaves, merged

KINDS = {
    "deployments": ("apps/v1", "Deployment"),
    "jobs": ("batch/v1", "Job"),
    "services": ("v1", "Service"),
    "pods": ("v1", "Pod"),
    "poddisruptionbudgets": ("policy/v1", "PodDisruptionBudget"),
    "horizontalpodautoscalers": ("autoscaling/v2", "HorizontalPodAutoscaler"),
}
_CONSTANT = {"Deployment": ("selector",), "Job": ("template", "podFailurePolicy")}
_VERBS = {"PATCH": "patch", "DELETE": "delete", "POST": "create"}

Key = tuple[str, str]
"""Plural and name: there is one namespace."""


class RefusedError(Exception):
    """What is answered with a status."""

    def __init__(self, code: int, reason: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.headers = code, reason, headers


@dataclass(frozen=True)
class Fault:
    """What becomes of a request: an error of that code, or a connection that is cut, before or after the deed."""

    code: int = 0
    retry_after: str = ""
    done: bool = False


@dataclass
class Store:
    """Objects, who owns their fields, and what happened to them."""

    objects: dict[Key, Object] = field(default_factory=dict)
    owners: dict[Key, Owners] = field(default_factory=dict)
    logs: dict[str, list[str]] = field(default_factory=dict)
    events: list[tuple[int, str, str, Object]] = field(default_factory=list)
    oldest: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    version: int = 0

    def all(self, plural: str, **labels: str) -> list[Object]:
        """The objects of a kind that have these labels."""
        return [
            found
            for (kind, _), found in self.objects.items()
            if kind == plural and labels.items() <= found["metadata"].get("labels", {}).items()
        ]

    def put(self, plural: str, name: str, wanted: Object) -> Object:
        """Make or change an object; one that stays the same keeps its version."""
        key = (plural, name)
        live = self.objects.get(key)
        if live == wanted:
            return live
        metadata = wanted.setdefault("metadata", {})
        if live is None:
            api_version, kind = KINDS[plural]
            wanted |= {"apiVersion": api_version, "kind": kind}
            metadata |= {"namespace": "framemesh", "name": name, "uid": str(uuid.uuid4()), "generation": 1}
        elif live.get("spec") != wanted.get("spec"):
            metadata["generation"] = live["metadata"]["generation"] + 1
        self._record("ADDED" if live is None else "MODIFIED", plural, wanted)
        self.objects[key] = wanted
        return wanted

    def remove(self, plural: str, name: str) -> None:
        """Delete an object."""
        gone = self.objects.pop((plural, name))
        self.owners.pop((plural, name), None)
        self._record("DELETED", plural, gone)

    def compact(self) -> None:
        """Forget what happened, so that every watch has to begin anew."""
        self.oldest, self.events = self.version, []

    def _record(self, what: str, plural: str, content: Object) -> None:
        self.version = next(self._versions)
        content["metadata"]["resourceVersion"] = str(self.version)
        self.events.append((self.version, what, plural, deepcopy(content)))
        self.changed.set()
        self.changed = asyncio.Event()


class ApiServer:
    """The server over a store, which outlives its restarts.

    Args:
        store: The objects.
        allowed: Verbs by group and plural, as a Role grants them; anything else is forbidden.
    """

    def __init__(self, store: Store, allowed: set[tuple[str, str, str]]) -> None:
        self.store = store
        self.allowed = allowed
        self.used: set[tuple[str, str, str]] = set()
        self.requests: list[str] = []
        """Method and path of each request but watches."""
        self.fault: Callable[[int], Fault | None] = lambda _: None
        """What becomes of the request of that number, from 0."""
        self.admit: Callable[[Object], None] = lambda _: None
        """An admission webhook: changes what is to be stored."""
        self.port = 0
        self.watches = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen, on the port of the last time."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Cut every connection."""
        assert self._runner is not None
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.strip("/").split("/")
        group, *rest = parts[1:] if parts[0] == "apis" else ["", *parts[1:]]
        _version, _, _namespace, plural, *named = rest
        if "watch" in request.query:
            try:
                self._check_allowed("watch", group, plural)
            except RefusedError as error:
                return _status(error)
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            with suppress(ClientConnectionResetError):  # who watches may go
                await self._watch(request, response, plural)
            return response
        self.requests.append(f"{request.method} {'/'.join((plural, *named))}")
        fault = self.fault(len(self.requests) - 1)
        if fault and fault.code:
            headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            return _status(RefusedError(fault.code, "Fault", "of the tests", headers))
        if fault and not fault.done:
            return _cut(request)
        try:
            answer = await self._answer(request, group, plural, named)
        except RefusedError as error:
            answer = _status(error)
        return _cut(request) if fault else answer

    async def _answer(self, request: web.Request, group: str, plural: str, named: list[str]) -> web.Response:
        if len(named) == 2:
            self._check_allowed("get", group, f"{plural}/{named[1]}")
            lines = self.store.logs.get(named[0])
            if lines is None:
                raise RefusedError(404, "NotFound", f'pods "{named[0]}" not found')
            return web.Response(text="\n".join(lines[-int(request.query["tailLines"]) :]))
        verb = _VERBS.get(request.method, "get" if named else "list")
        self._check_allowed(verb, group, plural)
        if not named:
            return self._list(request, plural)
        (name,) = named
        live = self.store.objects.get((plural, name))
        if live is None and verb != "patch":
            raise RefusedError(404, "NotFound", f'{plural} "{name}" not found')
        if verb == "get":
            return _json(live)
        if verb == "delete":
            self.store.remove(plural, name)
            return _json({"kind": "Status", "status": "Success"})
        if live is None:
            self._check_allowed("create", group, plural)
        return _json(self._patch(request, plural, name, json.loads(await request.text())))

    def _patch(self, request: web.Request, plural: str, name: str, body: Object) -> Object:
        store, key = self.store, (plural, name)
        live = store.objects.get(key)
        precondition = body.get("metadata", {}).pop("uid", None)
        if precondition is not None and live is None:
            told = f"uid mismatch: the provided object specified uid {precondition}, and no existing object was found"
            raise RefusedError(409, "Conflict", told)
        if precondition is not None and live is not None and live["metadata"]["uid"] != precondition:
            told = f'"{name}" is invalid: metadata.uid: Invalid value: "{precondition}": field is immutable'
            raise RefusedError(422, "Invalid", told)
        owners = store.owners.setdefault(key, {} if live is None else {"somebody": set(leaves(live))})
        manager = request.query["fieldManager"]
        if request.content_type == "application/apply-patch+yaml":
            try:
                force = request.query.get("force") == "true"
                changed = applied(live or {}, owners, body, manager, force=force)
            except ConflictError as error:
                raise RefusedError(409, "Conflict", str(error)) from None
        elif live is None:
            raise RefusedError(404, "NotFound", f'{plural} "{name}" not found')
        else:
            changed = merged(live, owners, body, manager)
        self.admit(changed)
        kind = KINDS[plural][1]
        for constant in _CONSTANT.get(kind, ()) if live else ():
            if live and live["spec"].get(constant) != changed["spec"].get(constant):
                raise RefusedError(422, "Invalid", f'{kind} "{name}" is invalid: spec.{constant}: field is immutable')
        return store.put(plural, name, changed)

    def _list(self, request: web.Request, plural: str) -> web.Response:
        # Items say neither their version nor their kind: the list says it for all.
        found = self.store.all(plural, **_labels(request))
        items = [{key: one[key] for key in one if key not in {"apiVersion", "kind"}} for one in found]
        return _json({"items": items, "metadata": {"resourceVersion": str(self.store.version)}})

    async def _watch(self, request: web.Request, response: web.StreamResponse, plural: str) -> None:
        store, labels = self.store, _labels(request)
        since = int(request.query.get("resourceVersion", "0"))
        await response.prepare(request)
        self.watches += 1

        async def tell(what: str, content: Object) -> None:
            await response.write(json.dumps({"type": what, "object": content}).encode() + b"\n")

        if since == 0:
            since = store.version
            for found in store.all(plural, **labels):
                await tell("ADDED", found)
        while True:
            if since < store.oldest:
                gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
                await tell("ERROR", gone)
                return
            changed, news = store.changed, [event for event in store.events if event[0] > since and event[2] == plural]
            since = store.version
            for _, what, _, content in news:
                if labels.items() <= content["metadata"].get("labels", {}).items():
                    await tell(what, content)
            if request.query.get("allowWatchBookmarks") == "true":
                await tell("BOOKMARK", {"metadata": {"resourceVersion": str(since)}})
            await changed.wait()

    def _check_allowed(self, verb: str, group: str, plural: str) -> None:
        if (verb, group, plural) not in self.allowed:
            raise RefusedError(403, "Forbidden", f"cannot {verb} resource {plural!r} in API group {group!r}")
        self.used.add((verb, group, plural))


@asynccontextmanager
async def serving(allowed: set[tuple[str, str, str]]) -> AsyncIterator[ApiServer]:
    """An empty API server around the block."""
    server = ApiServer(Store(), allowed)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def kubeconfig(port: int) -> str:
    """A configuration for it, as kubectl reads it."""
    return json.dumps(
        {
            "current-context": "tests",
            "clusters": [{"name": "tests", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "tests", "user": {"token": "of-the-tests"}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
        }
    )


def _labels(request: web.Request) -> dict[str, str]:
    text = request.query.get("labelSelector", "")
    return dict(part.split("=") for part in text.split(",")) if text else {}


def _json(content: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    # Without the charset that aiohttp would add: the API server says none.
    headers = {"Content-Type": "application/json", **(headers or {})}
    return web.Response(body=json.dumps(content).encode(), status=status, headers=headers)


def _status(error: RefusedError) -> web.Response:
    body: dict[str, Any] = {"kind": "Status", "status": "Failure", "code": error.code, "reason": error.reason}
    return _json(body | {"message": str(error)}, status=error.code, headers=error.headers)


def _cut(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
