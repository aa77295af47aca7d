"""Inputs that nobody means well with: the same ones for the same seed."""

import random
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO

from PIL import Image

from framemesh.oip.grpc_service_pb2 import ModelInferRequest
from tests.pictures import png_bomb

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def images(count: int, seed: int = 7) -> Iterator[bytes]:
    """Random bytes, cut and bit-flipped images of every format, bombs and absurd dimensions."""
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    whole = [_encoded(kind, size) for kind in FORMATS for size in ((64, 48), (333, 201))]
    for number in range(count):
        match number % 6:
            case 0:
                yield chance.randbytes(chance.randrange(2000))
            case 1:
                body = chance.choice(whole)
                yield body[: chance.randrange(len(body))]
            case 2 | 3:
                yield _flipped(chance.choice(whole), chance)
            case 4:
                yield _absurd(chance)
            case _:
                body = chance.choice(whole)
                yield body[:20] + chance.randbytes(200) + body[220:]


def tensors(count: int, seed: int = 7) -> Iterator[ModelInferRequest]:
    """Requests of the Open Inference Protocol with wrong names, types, shapes and lengths, or just hostile images."""
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    bodies = list(images(count, seed + 1))
    for body in bodies:
        request = ModelInferRequest(model_name="tiny")
        if chance.random() < 0.2:
            tensor = request.inputs.add(name="image", datatype="BYTES", shape=[1])
            tensor.contents.bytes_contents.append(body)
            yield request
            continue
        for _ in range(chance.choice((1, 1, 1, 1, 0, 2))):
            tensor = request.inputs.add()
            tensor.name = chance.choice(("image", "image", "pixel_values", "pixel_values", "", "mask"))
            tensor.datatype = chance.choice(("BYTES", "FP32", "FP32", "FP16", "INT64", "nonsense", ""))
            tensor.shape.extend(chance.choice(((1,), (1, 3, 32, 32), (3, 32, 32), (0,), (-1,), (2**62, 2**62), ())))
            content = chance.choice((body, struct.pack("<I", len(body)) + body, bytes(4 * 3 * 32 * 32), b""))
            match chance.randrange(3):
                case 0:
                    tensor.contents.bytes_contents.append(content)
                case 1:
                    tensor.contents.fp32_contents.extend([float("nan"), 1e38] * chance.choice((1, 3 * 16 * 32)))
                case _:
                    request.raw_input_contents.append(content)
        yield request


def _encoded(kind: str, size: tuple[int, int]) -> bytes:
    out = BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(out, kind)
    return out.getvalue()


def _flipped(body: bytes, chance: random.Random) -> bytes:
    changed = bytearray(body)
    for _ in range(chance.choice((1, 1, 10, 100))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _absurd(chance: random.Random) -> bytes:
    side = chance.choice((0, 1, 65535, 2**31 - 1, 2**32 - 1))
    other = chance.choice((0, 1, 40000, 2**32 - 1))
    return chance.choice(
        [
            png_bomb(side, other),
            b"GIF89a" + struct.pack("<HH", side % 65536, other % 65536) + b"\x80\0\0" + bytes(20),
            b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\xff" * 10 + bytes(8),
            b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 17, 8, side % 65536, other % 65536, 3) + bytes(9) + b"\xff\xd9",
            b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 2**31 - 1) + b"IHDR" + zlib.compress(bytes(100)),
        ]
    )
