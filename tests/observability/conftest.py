"""The model and the certificate of the meshes that are looked at."""

import pytest

from tests.certificates import Pair, issue
from tests.models import cache, prepare_ahead, prepared, source, vit

__all__ = ["cache", "prepare_ahead", "prepared", "source", "vit"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return issue(tmp_path_factory.mktemp("tls"))
