"""The objects of models in one namespace, through the Kubernetes API.

lightkube speaks the protocol: it lives, stands on the HTTP client that we have already, reads a ServiceAccount's token
anew when it was replaced, and imports in 0.3 s. What it leaves to its callers is here: patience with a server that is
busy or away, and what errors amount to.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
import structlog
from lightkube import ApiError, AsyncClient, ConfigError
from lightkube.generic_resource import GenericNamespacedResource, create_api_info
from lightkube.types import CascadeType, PatchType

from deployer.kubernetes.marks import MODEL_LABEL, OWNER, OWNER_LABEL
from deployer.kubernetes.objects import Object
from framemesh.errors import ConfigurationError, FramemeshError
from framemesh.waiting import jittered

log = structlog.get_logger()

T = TypeVar("T")

_CALL_SECONDS = 15.0
_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
_LONGEST_PAUSE_SECONDS = 30.0
_WATCH_SECONDS = 240
_WATCH_AGAIN_SECONDS = 1.0
_LOG_LINES = 100


class ClusterUnavailableError(FramemeshError):
    """The Kubernetes API doesn't answer, or somebody else changes the same object: trying again later helps."""

    reason = "CLUSTER_UNAVAILABLE"
    retry_after_seconds = 1.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object, and what the deployer may do with it.

    Attributes:
        name: As in an object's `kind`.
        group: Of the API; empty for the core.
        plural: As in paths and in RBAC.
        verbs: What RBAC has to allow.
        version: Of the group.
    """

    name: str
    group: str
    plural: str
    verbs: tuple[str, ...] = ("create", "delete", "get", "list", "patch", "watch")
    version: str = "v1"

    @property
    def api_version(self) -> str:
        """As in an object's `apiVersion`."""
        return f"{self.group}/{self.version}".lstrip("/")


DEPLOYMENT = Kind("Deployment", "apps", "deployments")
JOB = Kind("Job", "batch", "jobs")
SERVICE = Kind("Service", "", "services", ("create", "delete", "get", "list", "patch"))
BUDGET = Kind("PodDisruptionBudget", "policy", "poddisruptionbudgets", SERVICE.verbs)
SCALER = Kind("HorizontalPodAutoscaler", "autoscaling", "horizontalpodautoscalers", SERVICE.verbs, "v2")
POD = Kind("Pod", "", "pods", ("list", "watch"))
LOG = Kind("PodLog", "", "pods/log", ("get",))

OWNED = (SCALER, BUDGET, SERVICE, DEPLOYMENT, JOB)
"""The kinds of which the deployer makes and deletes objects, in the order in which they go."""
PERMISSIONS = (*OWNED, POD, LOG)
"""All that the deployer may do, in its own namespace alone: what its Role has to say, no more and no less."""

_RESOURCES: dict[str, Any] = {
    kind.name: type(
        kind.name,
        (GenericNamespacedResource,),
        {"_api_info": create_api_info(kind.group, kind.version, kind.name, kind.plural)},
    )
    for kind in (*OWNED, POD)
}


class Cluster:
    """The objects that carry an owner's mark, in one namespace. Made by `connected`.

    Every call is tried for some seconds on a server that is busy (429, for as long as it says), away or broken; it may
    be, as each ends in the same state however often it is made.

    Raises, from every method:
        ClusterUnavailableError: The API server doesn't answer, or the object is being changed by another.
        ConfigurationError: It refuses the request.
    """

    def __init__(self, client: AsyncClient, owner: str) -> None:
        self._client = client
        self._own: dict[str, Any] = {OWNER_LABEL: owner}

    async def owned(self, kind: Kind, model: str | None = None) -> list[Object]:
        """The objects of a kind that carry our mark, of one model or of all; of pods those that belong to such."""
        labels = self._own if model is None else {**self._own, MODEL_LABEL: model}

        async def listed() -> list[Object]:
            found = self._client.list(_RESOURCES[kind.name], labels=labels)
            return [one | {"apiVersion": kind.api_version, "kind": kind.name} async for one in found]  # lists omit them

        return await self._call(f"list {kind.plural}", listed)

    async def apply(self, wanted: Object, known: Object | None) -> Object:
        """Make an object, or bring the one that is known to this; returns what the cluster has made of it.

        Raises:
            ConfigurationError: There is one of that name that isn't this model's: it is left as it is.
        """
        kind, name = wanted["kind"], wanted["metadata"]["name"]
        resource = _RESOURCES[kind]
        metadata = dict(wanted["metadata"])
        if known is None:
            await self._check_free(kind, name, wanted["metadata"]["labels"][MODEL_LABEL])
        else:
            metadata["uid"] = known["metadata"]["uid"]  # never one that took its place meanwhile
        body = resource(wanted | {"metadata": metadata})
        # What somebody else makes at this very moment would be a conflict, and stays theirs.
        force = known is not None
        made = await self._call(
            f"apply {kind} {name}",
            lambda: self._client.patch(resource, name, body, patch_type=PatchType.APPLY, force=force),
        )
        log.info("object.applied", kind=kind, object=name)
        return dict(made)

    async def delete(self, kind: Kind, name: str) -> None:
        """Delete an object of ours with all that belongs to it; one that is gone is fine."""

        async def deleted() -> None:
            try:
                await self._client.delete(_RESOURCES[kind.name], name, cascade=CascadeType.BACKGROUND)
            except httpx2.HTTPStatusError as error:
                if _code(error) != 404:
                    raise

        await self._call(f"delete {kind.name} {name}", deleted)
        log.info("object.deleted", kind=kind.name, object=name)

    async def last_lines(self, pod: str) -> list[str]:
        """The last lines that a pod wrote; none where it hasn't begun, or is gone."""

        async def read() -> list[str]:
            try:
                return [line async for line in self._client.log(pod, tail_lines=_LOG_LINES, newlines=False)]
            except httpx2.HTTPStatusError as error:
                if _code(error) in {400, 404}:  # its container waits, or there is none
                    return []
                raise

        return await self._call(f"read the log of {pod}", read)

    async def watch(self, kind: Kind, on_change: Callable[[], None]) -> None:
        """Call back at once, whenever an object of ours changes, and whenever one may have changed unseen; for ever.

        It says only that there is something to look at. So nothing hangs on a watch: one that is cut, that is too far
        behind (410) or silent begins anew, and callers look again now and then whatever it says.
        """
        while True:
            on_change()
            try:
                async with asyncio.timeout(_WATCH_SECONDS + _CALL_SECONDS):
                    resource = _RESOURCES[kind.name]
                    watching = self._client.watch(resource, labels=self._own, server_timeout=_WATCH_SECONDS)
                    async for _ in watching:
                        on_change()
            except (httpx2.HTTPError, TimeoutError) as error:
                log.debug("cluster.watch_again", kind=kind.name, error=str(error) or type(error).__name__)
            await asyncio.sleep(jittered(_WATCH_AGAIN_SECONDS))

    async def _check_free(self, kind: str, name: str, model: str) -> None:
        async def found() -> Object | None:
            try:
                return dict(await self._client.get(_RESOURCES[kind], name))
            except httpx2.HTTPStatusError as error:
                if _code(error) == 404:
                    return None
                raise

        there = await self._call(f"get {kind} {name}", found)
        if there is None:
            return
        # Another model's, too: `vit-pods` and the pods of `vit` would be one Service.
        if not ({**self._own, MODEL_LABEL: model}.items() <= there["metadata"].get("labels", {}).items()):
            raise ConfigurationError(
                f"there is a {kind} {name} already that is not this model's: delete or rename it, or deploy the model "
                "under another name",
                kind=kind,
                object=name,
            )

    async def _call(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        for pause in (*_PAUSES, None):
            try:
                async with asyncio.timeout(_CALL_SECONDS):
                    return await call()
            except httpx2.HTTPStatusError as error:
                code = _code(error)
                if code < 500 and code != 429:
                    raise _refused(what, error) from error
                problem, wait = f"it says {code}", _retry_after(error)
            except (httpx2.HTTPError, TimeoutError, KeyError) as error:  # KeyError: an error page without a type
                problem, wait = str(error) or type(error).__name__, 0.0
            if pause is not None:
                await asyncio.sleep(max(wait, jittered(pause)))
        raise ClusterUnavailableError(f"can't {what}: the Kubernetes API doesn't answer: {problem}")


@asynccontextmanager
async def connected(namespace: str, owner: str = OWNER) -> AsyncIterator[Cluster]:
    """The cluster that `KUBECONFIG` names, or else the one in which this is a pod, around the block.

    Args:
        namespace: Where the objects are.
        owner: Whose they are: others are left alone.

    Raises:
        ConfigurationError: There is neither.
    """
    try:
        client = AsyncClient(namespace=namespace, field_manager=owner)
    except (ConfigError, OSError) as error:
        raise ConfigurationError(
            f"no Kubernetes cluster: {error}; set KUBECONFIG to a file, or run this in a pod with a ServiceAccount"
        ) from error
    async with client:
        yield Cluster(client, owner)


def _refused(what: str, error: httpx2.HTTPStatusError) -> ClusterUnavailableError | ConfigurationError:
    code, words = _code(error), str(error)
    if code == 409 or "metadata.uid" in words:  # the latter where another object took the place of the known one
        return ClusterUnavailableError(f"can't {what}: somebody else changes it: {words}")
    if code in {401, 403}:
        return ConfigurationError(f"can't {what}: the cluster forbids it: {words}; see docs/kubernetes.md for its Role")
    return ConfigurationError(f"can't {what}: the cluster refuses it: {words}")


def _code(error: httpx2.HTTPStatusError) -> int:
    """The HTTP status; of an error inside a watch, the one that it tells."""
    return int(error.status.code or 0) if isinstance(error, ApiError) else error.response.status_code


def _retry_after(error: httpx2.HTTPStatusError) -> float:
    """For how long a busy server asks to be left alone, within reason."""
    text = error.response.headers.get("Retry-After", "") if error.response is not None else ""
    return min(float(text), _LONGEST_PAUSE_SECONDS) if text.isdecimal() else 0.0
