"""The pages' own port: TLS, and what can't be listened on."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import ClientConnectorCertificateError, ClientSession
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from console.metrics import ConsoleMetrics
from console.serving import opened_certificate, serving_pages
from console.settings import ConsoleSettings
from framemesh.errors import ConfigurationError
from framemesh.rpc.tls import WebCertificate
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
    async with serving_pages(app(), "127.0.0.1:0", WebCertificate(pair.cert, pair.key)) as port:
        assert await answers(port, pair.ca)
        renewed = issue(tmp_path)
        await until(lambda: answers(port, renewed.ca), seconds=60)


async def test_a_pair_of_which_one_half_is_replaced_leaves_the_one_before(tmp_path: Path) -> None:
    pair = issue(tmp_path)
    (tmp_path / "next").mkdir()
    following = issue(tmp_path / "next")
    certificate = WebCertificate(pair.cert, pair.key)
    before = certificate.expiry()
    async with serving_pages(app(), "127.0.0.1:0", certificate) as port:
        pair.cert.write_bytes(following.cert.read_bytes())
        assert certificate.expiry() == before
        assert await answers(port, pair.ca)
        pair.key.write_bytes(following.key.read_bytes())
        certificate.expiry()
        assert await answers(port, following.ca)


def test_the_metrics_show_when_the_certificate_ends(tmp_path: Path) -> None:
    ends = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    pair = issue(tmp_path, ends=ends)
    settings = ConsoleSettings(
        address="127.0.0.1:1",
        nats_url=SecretStr("nats://127.0.0.1:1"),
        s3_endpoint="http://127.0.0.1:1",
        s3_access_key=SecretStr("nobody"),
        s3_secret_key=SecretStr("nothing"),
    )
    for files, shown in (({}, 0), ({"tls_cert_file": pair.cert, "tls_key_file": pair.key}, ends.timestamp())):
        registry = CollectorRegistry()
        opened_certificate(settings.model_copy(update=files), ConsoleMetrics(registry))
        assert registry.get_sample_value("framemesh_console_certificate_expiry_timestamp_seconds") == shown


async def test_what_cannot_be_served_says_why(tmp_path: Path) -> None:
    pair = issue(tmp_path)
    (tmp_path / "other").mkdir()
    other = issue(tmp_path / "other")
    with pytest.raises(ConfigurationError, match="belong together"):
        WebCertificate(pair.cert, other.key)
    async with serving_pages(app(), "127.0.0.1:0") as port:
        with pytest.raises(ConfigurationError, match="FRAMEMESH_CONSOLE_ADDRESS"):
            async with serving_pages(app(), f"127.0.0.1:{port}"):
                pass
