"""The lake's models, as far as a deployer looks after them: whole versions stay, whoever serves them."""

import re

from framemesh.lake import Lake
from framemesh.settings import ModelStoreSettings

_MANIFEST = "manifest.json"
_PUBLISHED = re.compile(r"[^/]+/(?P<version>[^/]+-(onnx|torch)-[^/]+-f\d+)/(?P<file>[^/]+)")
"""The keys of a version that a worker names; one that a person uploads under a name of their own isn't ours."""


async def clear_unfinished(settings: ModelStoreSettings, model: str) -> None:
    """Delete what workers that were killed left of a model: versions without their manifest, which comes last.

    Raises:
        ConfigurationError: The lake refuses the keys.
        LakeUnavailableError: The lake can't be reached now.
    """
    lake = Lake.of_models(settings)
    if lake is None:
        return
    async with lake:
        found = [match for key in await lake.keys(f"{model}/") if (match := _PUBLISHED.fullmatch(key))]
        whole = {match["version"] for match in found if match["file"] == _MANIFEST}
        await lake.delete(*(match[0] for match in found if match["version"] not in whole))
