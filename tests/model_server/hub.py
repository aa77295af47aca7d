"""A model hub on this machine, with as much of the real one's API as a download takes."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True, slots=True)
class Hub:
    """One public model `owner/model`, and `owner/gated`, which may not be read.

    Attributes:
        url: For `HF_ENDPOINT`.
        downloaded: Names of the files that were fetched.
    """

    url: str
    downloaded: list[str] = field(default_factory=list)


@asynccontextmanager
async def hub(folder: Path) -> AsyncIterator[Hub]:
    """Serve the folder's files as `owner/model` around the block."""
    downloaded: list[str] = []

    async def info(request: web.Request) -> web.Response:
        if request.match_info["name"] == "gated":
            return web.json_response({}, status=403, headers={"X-Error-Code": "GatedRepo"})
        if request.match_info["name"] != "model":
            return web.json_response({}, status=404, headers={"X-Error-Code": "RepoNotFound"})
        if request.match_info.get("revision", "main") not in {"main", COMMIT}:
            return web.json_response({}, status=404, headers={"X-Error-Code": "RevisionNotFound"})
        siblings = [{"rfilename": path.name} for path in sorted(folder.iterdir())]
        return web.json_response({"id": "owner/model", "sha": COMMIT, "siblings": siblings, "tags": []})

    async def tree(_: web.Request) -> web.Response:
        return web.json_response([
            {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": _etag(path)}
            for path in sorted(folder.iterdir())
        ])  # fmt: skip

    async def file(request: web.Request) -> web.Response:
        path = folder / request.match_info["file"]
        if request.method == "GET":
            downloaded.append(path.name)
        return web.Response(body=path.read_bytes(), headers={"ETag": f'"{_etag(path)}"', "X-Repo-Commit": COMMIT})

    app = web.Application()
    app.add_routes([
        web.get("/api/models/owner/{name}", info),
        web.get("/api/models/owner/{name}/revision/{revision}", info),
        web.get("/api/models/owner/model/tree/{revision}", tree),
        web.get("/owner/model/resolve/{revision}/{file}", file),
    ])  # fmt: skip
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Hub(f"http://127.0.0.1:{runner.addresses[0][1]}", downloaded)
    finally:
        await runner.cleanup()


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
