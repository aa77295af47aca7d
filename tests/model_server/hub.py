"""A model hub on this machine, with as much of the real one's API as a download takes."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_token_of_tests"  # noqa: S105


@dataclass(slots=True)
class Hub:
    """A public model `owner/model`, the same as `owner/private` for those with the token, and `owner/gated` for nobody.

    Attributes:
        folder: Whose files are served.
        url: For `HF_ENDPOINT`.
        downloaded: Names of the files that were fetched.
        breaking: Names of files whose next fetch breaks off in the middle.
        resumed: Names of files of which only the rest was fetched.
        flowing: While it isn't set, files that are fetched don't come.
        requests: How many came.
    """

    folder: Path
    url: str = ""
    downloaded: list[str] = field(default_factory=list)
    breaking: set[str] = field(default_factory=set)
    resumed: list[str] = field(default_factory=list)
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    requests: int = 0

    def __post_init__(self) -> None:
        self.flowing.set()

    async def info(self, request: web.Request) -> web.Response:
        if (refused := _refusal(request)) is not None:
            return refused
        if request.match_info.get("revision", "main") not in {"main", COMMIT}:
            return web.json_response({}, status=404, headers={"X-Error-Code": "RevisionNotFound"})
        siblings = [{"rfilename": path.name} for path in sorted(self.folder.iterdir())]
        return web.json_response({"id": "owner/model", "sha": COMMIT, "siblings": siblings, "tags": []})

    async def tree(self, request: web.Request) -> web.Response:
        return _refusal(request) or web.json_response([
            {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": _etag(path)}
            for path in sorted(self.folder.iterdir())
        ])  # fmt: skip

    async def file(self, request: web.Request) -> web.StreamResponse:
        if (refused := _refusal(request)) is not None:
            return refused
        path = self.folder / request.match_info["file"]
        headers = {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": COMMIT}
        body = path.read_bytes()
        if request.method == "HEAD":
            return web.Response(body=body, headers=headers)
        await self.flowing.wait()
        self.downloaded.append(path.name)
        if start := request.http_range.start:
            self.resumed.append(path.name)
            return web.Response(status=206, body=body[start:], headers=headers)
        if path.name in self.breaking:
            self.breaking.remove(path.name)
            return await _half(request, body, headers)
        return web.Response(body=body, headers=headers)


@asynccontextmanager
async def hub(folder: Path) -> AsyncIterator[Hub]:
    """Serve the folder's files around the block."""
    served = Hub(folder)

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        served.requests += 1
        return await handler(request)

    app = web.Application(middlewares=[count])
    app.add_routes([
        web.get("/api/models/owner/{name}", served.info),
        web.get("/api/models/owner/{name}/revision/{revision}", served.info),
        web.get("/api/models/owner/{name}/tree/{revision}", served.tree),
        web.get("/owner/{name}/resolve/{revision}/{file}", served.file),
    ])  # fmt: skip
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield served
    finally:
        await runner.cleanup()


def _refusal(request: web.Request) -> web.Response | None:
    name = request.match_info["name"]
    if name == "gated":
        return web.json_response({}, status=403, headers={"X-Error-Code": "GatedRepo"})
    may = name == "private" and request.headers.get("Authorization") == f"Bearer {TOKEN}"
    if name != "model" and not may:
        return web.json_response({}, status=404, headers={"X-Error-Code": "RepoNotFound"})
    return None


async def _half(request: web.Request, body: bytes, headers: dict[str, str]) -> web.StreamResponse:
    """An answer that promises the whole body and breaks off in the middle of it."""
    response = web.StreamResponse(headers={**headers, "Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
