from gateway.holding import FrameHold


def test_the_oldest_go_first() -> None:
    hold = FrameHold(10)
    for key in "abc":
        hold.put(key, b"1234")
    assert (hold.get("a"), hold.get("b"), hold.get("c")) == (None, b"1234", b"1234")
    assert hold.size_bytes == 8


def test_a_frame_put_again_counts_once() -> None:
    hold = FrameHold(10)
    hold.put("a", b"1234")
    hold.put("a", b"12345678")
    assert hold.size_bytes == 8


def test_nothing_is_held_beyond_the_limit() -> None:
    hold = FrameHold(3)
    hold.put("a", b"1234")
    assert hold.get("a") is None
    assert hold.size_bytes == 0
