"""What an operator may set on the archiver."""

from typing import Annotated

from pydantic import AfterValidator, Field

from archiver.retention import parse
from framemesh.settings import BusSettings, LakeSettings, ServiceSettings


def _checked(text: str) -> str:
    parse(text)
    return text


class ArchiverSettings(ServiceSettings, BusSettings, LakeSettings):
    """What an operator may set on the archiver. Durations in seconds."""

    archive_seconds: float = Field(default=10.0, gt=0, le=3600)
    """How often new rows are written: how fresh queries are, against how many small files there are to merge."""
    retention: Annotated[str, AfterValidator(_checked)] = ""
    """How long, or how many, frames are kept, by camera: `*=30d,gate=12h,door=50GiB`, where `*` is every camera that
    isn't named. Whole hours go, the oldest first, with their rows in the table `frames`; results stay. Empty keeps all.
    """
    retention_seconds: float = Field(default=600.0, gt=0)
    """How often it is looked for frames to delete."""
    retention_deletes_per_second: int = Field(default=500, ge=1, le=100_000)
    """Requests to the S3 server at most, so that deleting a backlog leaves it room for storing."""
