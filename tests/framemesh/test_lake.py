import pytest

from framemesh.errors import ConfigurationError, FrameNotFoundError, LakeUnavailableError
from framemesh.lake import Lake, StoredObject
from framemesh.mesh.servers import free_port
from tests.conftest import CREDENTIALS
from tests.stores import STORES


@pytest.fixture(scope="module", params=STORES)
def s3_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def open_lake(endpoint: str, *, secret_key: str = CREDENTIALS.password) -> Lake:
    return Lake(
        endpoint,
        access_key=CREDENTIALS.user,
        secret_key=secret_key,
        region="us-east-1",
        bucket="frames",
        requests=2,
    )


async def test_an_object_reads_back_with_its_metadata(lake: Lake) -> None:
    await lake.put("a/b.jpg", b"body", content_type="image/jpeg", metadata={"width-px": "640"})
    assert await lake.get("a/b.jpg") == (b"body", {"width-px": "640"})


async def test_putting_again_overwrites(lake: Lake) -> None:
    for body in (b"first", b"second"):
        await lake.put("c/d.jpg", body, content_type="image/jpeg", metadata={})
    assert (await lake.get("c/d.jpg"))[0] == b"second"
    assert await lake.keys("c/") == ["c/d.jpg"]


async def test_what_is_not_there_is_not_found(lake: Lake) -> None:
    with pytest.raises(FrameNotFoundError):
        await lake.get("no/such.jpg")
    assert await lake.keys("no/") == []


async def test_listings_tell_sizes_and_folders(lake: Lake) -> None:
    for key in ("gate/2026/a.jpg", "gate/2027/b.jpg", "yard/2026/c.jpg"):
        await lake.put(f"listed/{key}", b"12345", content_type="image/jpeg", metadata={})
    assert await lake.objects("listed/gate/2026/") == [StoredObject("listed/gate/2026/a.jpg", 5)]
    assert await lake.folders("listed/") == ["listed/gate/", "listed/yard/"]
    assert "listed/" in await lake.folders()


async def test_what_is_deleted_is_gone_and_deleting_it_again_is_fine(lake: Lake) -> None:
    await lake.put("e/f g+%.jpg", b"body", content_type="image/jpeg", metadata={})
    for _ in range(2):
        await lake.delete("e/f g+%.jpg")
    assert await lake.keys("e/") == []


async def test_a_closed_port_says_which(lake: Lake) -> None:
    port = free_port()
    with pytest.raises(LakeUnavailableError, match=str(port)):
        async with open_lake(f"http://127.0.0.1:{port}"):
            pass


async def test_a_wrong_key_is_for_the_operator_to_mend(s3: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="S3 keys"):
        async with open_lake(s3["FRAMEMESH_S3_ENDPOINT"], secret_key="wrong"):
            pass


@pytest.mark.parametrize("endpoint", ["localhost:9000", "ftp://host", "http://", "http://host/path", ""])
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="http://host:port"):
        open_lake(endpoint)
