"""How a camera is, in a word; and what a page that is slow or hidden is sent."""

import pytest

from console.live.status import Heard, status
from console.live.tiles import Picture, tile, whole
from console.live.watcher import Update, View, Watcher
from framemesh.errors import InvalidImageError
from framemesh.v1.camera_pb2 import Camera, LineState, SourceState
from tests.pictures import encoded, jpeg

CAPTURING, SENDING = SourceState.SOURCE_STATE_CAPTURING, LineState.LINE_STATE_SENDING


@pytest.mark.parametrize(
    ("heard", "told", "state"),
    [
        (Heard(10.0, 0.2), None, "live"),
        (Heard(10.0, 3.5), None, "away"),
        (Heard(0.5, 5.0), None, "live"),  # one frame in two seconds
        (Heard(0.0, None), Camera(source_state=CAPTURING), "starting"),
        (Heard(0.0, 9.0), Camera(source_state=SourceState.SOURCE_STATE_LOST), "lost"),
        (Heard(0.0, 9.0), Camera(source_state=SourceState.SOURCE_STATE_STALLED), "stalled"),
        (Heard(0.0, 9.0), Camera(source_state=CAPTURING, line_state=LineState.LINE_STATE_SPILLING), "waiting"),
        (Heard(9.0, 0.1), Camera(source_state=CAPTURING, line_state=LineState.LINE_STATE_REFUSED), "refused"),
        (Heard(9.0, 0.1), Camera(source_state=CAPTURING, line_state=SENDING, last_error="long ago"), "live"),
    ],
)
def test_a_camera_is_in_one_state(heard: Heard, told: Camera | None, state: str) -> None:
    assert status("gate", heard, told)["state"] == state


def test_what_its_agent_says_goes_with_a_state_that_is_bad() -> None:
    told = Camera(source_state=SourceState.SOURCE_STATE_LOST, last_error="no route to host")
    assert status("gate", Heard(0.0, 9.0), told)["words"] == "no route to host"
    assert status("gate", Heard(9.0, 0.1), told)["words"] == ""


def update(camera: str, number: int) -> Update:
    return Update(camera, f"{camera}-{number}", number, Picture(b"", 1, 1), (), ())


async def test_a_page_gets_the_newest_of_each_camera_and_no_more_than_it_paints() -> None:
    watcher = Watcher()
    for number in range(3):
        watcher.offer(update("gate", number))
        watcher.offer(update("door", number))
    assert [one.frame_id for one in await watcher.take(within=60)] == ["gate-2", "door-2"]
    watcher.offer(update("gate", 3))
    assert len(await watcher.take(within=60)) == 1
    watcher.offer(update("gate", 4))
    assert not watcher.ready
    assert await watcher.take(within=0) == []
    watcher.painted(2)
    assert [one.frame_id for one in await watcher.take(within=60)] == ["gate-4"]


def test_a_wish_that_makes_no_sense_is_left_out() -> None:
    assert View.parse({"camera": 7, "models": ["b", 1, "a", "a"]}) == View(None, ("a", "b"))
    assert View.parse({"camera": "gate", "models": "vit"}) == View("gate", ())
    assert len(View.parse({"models": [str(number) for number in range(99)]}).models) == 8


def test_a_small_picture_is_as_its_decoder_scales_it() -> None:
    picture = tile(jpeg(size=(1280, 720)), 320)
    assert (picture.width_px, picture.height_px) == (1280, 720)
    assert whole(picture.body) == Picture(picture.body, 320, 180)
    assert whole(tile(encoded("PNG", size=(1280, 720)), 320).body).width_px == 640


def test_a_damaged_frame_has_no_picture() -> None:
    body = jpeg(size=(1280, 720))
    for damaged in (b"", body[: len(body) // 2], b"no picture"):
        with pytest.raises(InvalidImageError):
            tile(damaged, 320)
