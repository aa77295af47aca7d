from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from framemesh.settings import ModelStoreSettings
from model_server.settings import ModelServerSettings


def test_three_settings_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEMESH_MODEL_NAME", "vit")
    monkeypatch.setenv("FRAMEMESH_MODEL_SOURCE", "google/vit-base-patch16-224")
    monkeypatch.setenv("FRAMEMESH_MODEL_CACHE", "/var/cache/framemesh")
    monkeypatch.setenv("FRAMEMESH_NATS_URL", "nats://user:hidden@host")
    settings = ModelServerSettings()  # type: ignore[call-arg]  # from the environment
    assert settings.model_cache == Path("/var/cache/framemesh")
    assert settings.model_runtime == "onnx"
    assert settings.workers >= 1
    assert "hidden" not in repr(settings)
    assert (settings.model_precision, settings.model_task, settings.model_labels) == ("fp32", "", ())
    assert not settings.model_allow_pickle
    assert not settings.model_trust_remote_code
    assert settings.s3_endpoint is None


def test_labels_come_as_a_list_and_empty_variables_are_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the mesh sets them."""
    variables = {"NAME": "owl", "SOURCE": "a/owl", "CACHE": "c", "TASK": "", "REVISION": "", "LABELS": '["a cat", "ö"]'}
    for name, value in variables.items():
        monkeypatch.setenv(f"FRAMEMESH_MODEL_{name}", value)
    settings = ModelServerSettings()  # type: ignore[call-arg]  # from the environment
    assert settings.model_labels == ("a cat", "ö")
    assert (settings.model_task, settings.model_revision) == ("", "")


def test_where_the_lake_is_goes_on_to_another_process_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "FRAMEMESH_S3_ENDPOINT": "http://s3",
        "FRAMEMESH_S3_ACCESS_KEY": "user",
        "FRAMEMESH_S3_SECRET_KEY": "hidden",
        "FRAMEMESH_S3_REGION": "eu-1",
        "FRAMEMESH_S3_MODELS_BUCKET": "shelf",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    store = ModelStoreSettings()
    assert store.variables() == given
    assert "hidden" not in repr(store)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    wrong: dict[str, Any] = {"model_name": "My Model", "model_source": "", "model_runtime": "tensorrt", "max_batch": 0}
    with pytest.raises(ValidationError) as caught:
        ModelServerSettings(model_cache=Path(), **wrong)
    assert {error["loc"][0] for error in caught.value.errors()} == wrong.keys()
    assert "can't name a model" in str(caught.value)
