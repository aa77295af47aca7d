"""Trainings on datasets that tests draw and small models with made-up weights, against the lake of a test."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.model_server.tiny import make
from tests.trainer.signs import dataset
from trainer.settings import TrainerSettings


@pytest.fixture
def settings(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> TrainerSettings:
    """Where the lake is; programs that a training starts find it in their environment."""
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "")  # so that it is as before once the test is over
    return TrainerSettings(
        s3_endpoint=s3["FRAMEMESH_S3_ENDPOINT"],
        s3_access_key=SecretStr(s3["FRAMEMESH_S3_ACCESS_KEY"]),
        s3_secret_key=SecretStr(s3["FRAMEMESH_S3_SECRET_KEY"]),
    )


@pytest.fixture(scope="module")
def signs(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset of two classes."""
    counts = {"train": 6, "validation": 3, "test": 4}
    return dataset(tmp_path_factory.mktemp("data") / "signs", photos, counts, classes=("no-entry", "parking"))


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier of ten other classes."""
    return make("vit", tmp_path_factory.mktemp("bases") / "vit")
