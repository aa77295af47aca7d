"""The model and the certificate of the meshes that are looked at."""

from pathlib import Path

import pytest

from tests.certificates import Pair, issue
from tests.model_server import tiny


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make("vit", tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return issue(tmp_path_factory.mktemp("tls"))
