"""What an operator may set on the archiver."""

from pydantic import Field

from framemesh.settings import BusSettings, LakeSettings, ServiceSettings


class ArchiverSettings(ServiceSettings, BusSettings, LakeSettings):
    """What an operator may set on the archiver. Durations in seconds."""

    archive_seconds: float = Field(default=10.0, gt=0, le=3600)
    """How often new rows are written: how fresh queries are, against how many small files there are to merge."""
