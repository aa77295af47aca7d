import pytest
from PIL import Image

from framemesh.errors import InvalidImageError
from ingest.pictures import Picture, Size, encode
from ingest.shrinking import STEPS, shrunk
from tests.ingest.media import image, size_of


@pytest.fixture(scope="module")
def detailed() -> Picture:
    return encode(Image.effect_noise((320, 240), 200).convert("RGB"), quality=95)


def test_a_picture_gets_coarser_before_it_gets_smaller(detailed: Picture) -> None:
    sizes: list[Size] = []
    limit = len(detailed.body)
    while (smaller := shrunk(detailed.body, limit_bytes=limit - 1)) is not None:
        assert len(smaller.body) < limit
        assert size_of(smaller.body) == (smaller.size.width_px, smaller.size.height_px)
        sizes.append(smaller.size)
        limit = len(smaller.body)
    assert sizes[:3] == [Size(320, 240)] * 3
    assert sizes[-1] == Size(80, 60)
    assert len(sizes) <= len(STEPS)


def test_other_formats_become_jpegs_and_nothing_is_what_fits_into_nothing() -> None:
    smaller = shrunk(image(kind="PNG"), limit_bytes=5000)
    assert smaller is not None
    assert (smaller.content_type, smaller.size) == ("image/jpeg", Size(64, 48))
    assert shrunk(image(), limit_bytes=10) is None


def test_what_is_no_picture_can_not_be_made_smaller() -> None:
    with pytest.raises(InvalidImageError):
        shrunk(bytes(5000), limit_bytes=100)
