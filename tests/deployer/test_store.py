from pydantic import SecretStr

from deployer.store import clear_unfinished
from framemesh.lake import Lake
from framemesh.settings import ModelStoreSettings


async def test_only_what_workers_left_half_done_is_cleared_away(s3: dict[str, str]) -> None:
    settings = ModelStoreSettings(
        s3_endpoint=s3["FRAMEMESH_S3_ENDPOINT"],
        s3_access_key=SecretStr(s3["FRAMEMESH_S3_ACCESS_KEY"]),
        s3_secret_key=SecretStr(s3["FRAMEMESH_S3_SECRET_KEY"]),
    )
    lake = Lake(
        s3["FRAMEMESH_S3_ENDPOINT"],
        access_key=s3["FRAMEMESH_S3_ACCESS_KEY"],
        secret_key=s3["FRAMEMESH_S3_SECRET_KEY"],
        region="us-east-1",
        bucket="models",
        requests=4,
    )
    kept = {
        "vit/abc-onnx-fp32-f2/manifest.json",
        "vit/abc-onnx-fp32-f2/model.onnx",
        "vit/by-hand/model.onnx",  # somebody uploads it just now
        "vit-large/abc-onnx-fp32-f2/model.onnx",
    }
    async with lake:
        for key in (*kept, "vit/def-onnx-fp32-f2/model.onnx", "vit/def-torch-bf16-depth-estimation-f2/model.bin"):
            await lake.put(key, b"x", content_type="application/octet-stream", metadata={})
        await clear_unfinished(settings, "vit")
        assert set(await lake.keys("")) == kept
        await clear_unfinished(settings, "never-heard-of")
