from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr, ValidationError

from archiver.retention import EARLIEST, Limit, parse
from archiver.settings import ArchiverSettings

NOW = datetime(2026, 9, 21, 14, 25, tzinfo=UTC)
GIB = 1024**3


def hour(number: int, day: int = 21) -> datetime:
    return datetime(2026, 9, day, number, tzinfo=UTC)


def test_limits_are_written_by_camera() -> None:
    assert parse(" *=30d, gate=12h,door=1.5GiB ") == {
        "*": Limit(span=timedelta(days=30)),
        "gate": Limit(span=timedelta(hours=12)),
        "door": Limit(size_bytes=1.5 * GIB),
    }
    assert parse("") == {}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("30d", "30d"),
        ("gate", "gate=7d"),
        ("gate=7", "gate=7d"),
        ("gate=7 days", "gate=7d"),
        ("gate=0d", "gate=0d"),
        ("gate=-1d", "gate=-1d"),
        ("gate=1GB", "50GiB"),
        ("Gate=1d", "a-z"),
        ("../x=1d", "camera"),
        ("gate=1d,gate=2d", "two limits"),
        ("gate=nand", "gate=nand"),
    ],
)
def test_what_is_no_limit_says_how_to_write_one(text: str, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        parse(text)
    with pytest.raises(ValidationError, match=names):
        ArchiverSettings(
            nats_url=SecretStr("nats://x"),
            s3_endpoint="http://x",
            s3_access_key=SecretStr("x"),
            s3_secret_key=SecretStr("x"),
            retention=text,
        )


@pytest.mark.parametrize(
    ("span", "first"),
    [
        (timedelta(minutes=20), hour(14)),  # the hour under way stays
        (timedelta(hours=1), hour(13)),
        (timedelta(days=1), hour(14, day=20)),
        (timedelta(days=1_000_000), EARLIEST),
    ],
)
def test_an_hour_goes_once_all_of_it_is_too_old(span: timedelta, first: datetime) -> None:
    assert Limit(span=span).first_kept({}, NOW) == first


@pytest.mark.parametrize(
    ("size_bytes", "first"),
    [(1000, EARLIEST), (60, EARLIEST), (59, hour(12)), (30, hour(13)), (29, hour(14)), (1, hour(14))],
)
def test_the_newest_whole_hours_that_fit_are_kept_and_the_one_under_way_whatever_it_takes(
    size_bytes: int, first: datetime
) -> None:
    sizes = {hour(11): 10, hour(12): 20, hour(13): 20, hour(14): 10}
    assert Limit(size_bytes=size_bytes).first_kept(sizes, NOW) == first
