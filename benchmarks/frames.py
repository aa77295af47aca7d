"""Frames for measurements."""

from io import BytesIO

from PIL import Image


def noise_jpeg(size_bytes: int) -> bytes:
    """A 1280x720 JPEG of about that many bytes: noise at the quality that comes nearest."""
    noise = Image.effect_noise((1280, 720), 40).convert("RGB")
    best = b""
    for quality in range(1, 96):
        out = BytesIO()
        noise.save(out, "JPEG", quality=quality)
        if abs(len(out.getvalue()) - size_bytes) >= abs(len(best) - size_bytes):
            break
        best = out.getvalue()
    return best
