from framemesh.telemetry import logs


def test_a_traceback_on_a_terminal_shows_no_local_variables() -> None:
    def connect(password: str) -> None:
        raise ConnectionError(f"refused after {len(password)} letters")

    try:
        connect("hunter2")
    except ConnectionError as error:
        told = logs.CONSOLE(None, "error", {"event": "bus.failed", "exc_info": error})
    assert "refused after 7 letters" in told
    assert "in connect" in told
    assert "hunter2" not in told.replace('connect("hunter2")', "")
