"""The pages' own port: TLS, and what can't be listened on."""

import ssl
from pathlib import Path

import pytest
from aiohttp import ClientConnectorCertificateError, ClientSession
from fastapi import FastAPI

from console.serving import serving_pages
from framemesh.errors import ConfigurationError
from tests.certificates import issue
from tests.gateway.conftest import until


def app() -> FastAPI:
    made = FastAPI()

    @made.get("/")
    async def first() -> str:
        return "pages"

    return made


async def answers(port: int, ca: Path) -> bool:
    """Whether the port is served with a certificate of that authority, to somebody who has never been there."""
    context = ssl.create_default_context(cafile=ca)
    try:
        async with ClientSession() as session, session.get(f"https://127.0.0.1:{port}/", ssl=context) as answer:
            return answer.status == 200
    except ClientConnectorCertificateError:
        return False


async def test_a_renewed_certificate_is_taken_up(tmp_path: Path) -> None:
    pair = issue(tmp_path)
    async with serving_pages(app(), "127.0.0.1:0", cert_file=pair.cert, key_file=pair.key) as port:
        assert await answers(port, pair.ca)
        renewed = issue(tmp_path)
        await until(lambda: answers(port, renewed.ca), seconds=60)


async def test_what_cannot_be_served_says_why(tmp_path: Path) -> None:
    pair = issue(tmp_path)
    (tmp_path / "other").mkdir()
    other = issue(tmp_path / "other")
    with pytest.raises(ConfigurationError, match="belong together"):
        async with serving_pages(app(), "127.0.0.1:0", cert_file=pair.cert, key_file=other.key):
            pass
    async with serving_pages(app(), "127.0.0.1:0", cert_file=None, key_file=None) as port:
        with pytest.raises(ConfigurationError, match="FRAMEMESH_CONSOLE_ADDRESS"):
            async with serving_pages(app(), f"127.0.0.1:{port}", cert_file=None, key_file=None):
                pass
