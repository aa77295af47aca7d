"""The small model of meshes."""

from tests.models import cache, prepare_ahead, prepared, source, vit

__all__ = ["cache", "prepare_ahead", "prepared", "source", "vit"]
