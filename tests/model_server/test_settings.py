from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

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


def test_everything_that_is_wrong_is_said_at_once() -> None:
    wrong: dict[str, Any] = {"model_name": "My Model", "model_source": "", "model_runtime": "tensorrt", "max_batch": 0}
    with pytest.raises(ValidationError) as caught:
        ModelServerSettings(model_cache=Path(), **wrong)
    assert {error["loc"][0] for error in caught.value.errors()} == wrong.keys()
    assert "can't name a model" in str(caught.value)
