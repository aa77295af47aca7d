"""Pictures that ImageNet has no classes for: drawn signs on real photos, each at another place, size and light."""

import hashlib
import json
import random
from collections.abc import Sequence
from io import BytesIO
from math import cos, pi, sin
from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

CLASSES = ("gauge", "no-entry", "parking", "warning")
SIZE = (320, 240)
_PHOTOS = ("chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg", "motorcycle_left.png", "motorcycle_right.png")

Box = tuple[float, float, float, float]


def picture(label: str, number: int, photos: Path) -> tuple[bytes, Box]:
    """A JPEG that shows one sign, and where: left, top, width, height in pixels. The same number, the same picture."""
    chance = random.Random(f"{label}/{number}")  # noqa: S311 - nothing secret
    scene = _scene(chance, photos)
    edge = chance.randint(140, 220)
    sign = (
        _drawn(label, chance)
        .resize((edge, edge), Image.Resampling.LANCZOS)
        .rotate(chance.uniform(-12, 12), Image.Resampling.BICUBIC)
    )
    left, top = chance.randint(0, SIZE[0] - edge), chance.randint(0, SIZE[1] - edge)
    scene.paste(sign, (left, top), sign)
    scene = ImageEnhance.Brightness(scene).enhance(chance.uniform(0.6, 1.3))
    scene = scene.filter(ImageFilter.GaussianBlur(chance.uniform(0, 0.8)))
    out = BytesIO()
    scene.save(out, "JPEG", quality=chance.randint(75, 92))
    return out.getvalue(), (left, top, edge, edge)


def dataset(
    folder: Path, photos: Path, counts: dict[str, int], *, classes: Sequence[str] = CLASSES, objects: bool = False
) -> Path:
    """A dataset of so many pictures of each class in each split, laid out as `framemesh dataset export` does it."""
    digest = hashlib.sha256()
    number = 0
    for split, count in counts.items():
        (folder / split).mkdir(parents=True)
        rows = []
        for _ in range(count):
            for label in classes:
                number += 1
                body, box = picture(label, number, photos)
                name = f"gate-{1_790_000_000_000_000_000 + number}.jpg"
                (folder / split / name).write_bytes(body)
                digest.update(body)
                said = (
                    {"objects": {"bbox": [box], "categories": [classes.index(label)]}} if objects else {"label": label}
                )
                rows.append({"file_name": name, "sha256": hashlib.sha256(body).hexdigest(), **said})
        (folder / split / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    recipe = {
        "recipe": {
            "format": "imagefolder",
            "task": "object-detection" if objects else "image-classification",
            "labels": "corrections",
        },
        "dataset": {"classes": list(classes), "digest": f"sha256:{digest.hexdigest()}"},
    }
    (folder / "recipe.json").write_text(json.dumps(recipe))
    return folder


def _scene(chance: random.Random, photos: Path) -> Image.Image:
    with Image.open(photos / chance.choice(_PHOTOS)) as photo:
        image = photo.convert("RGB")
    part = chance.uniform(0.5, 0.9)
    width = part * min(image.width, image.height * 4 / 3)
    left, top = chance.uniform(0, image.width - width), chance.uniform(0, image.height - width * 3 / 4)
    return image.resize(SIZE, Image.Resampling.BILINEAR, box=(left, top, left + width, top + width * 3 / 4))


def _drawn(label: str, chance: random.Random) -> Image.Image:
    sign = Image.new("RGBA", (200, 200))
    draw = ImageDraw.Draw(sign)
    match label:
        case "no-entry":
            draw.ellipse((10, 10, 190, 190), fill=(200, 20, 30, 255))
            draw.rectangle((40, 82, 160, 118), fill="white")
        case "warning":
            draw.polygon(((100, 10), (195, 180), (5, 180)), fill=(250, 205, 20, 255), outline="black", width=12)
            draw.rectangle((92, 70, 108, 130), fill="black")
            draw.ellipse((90, 142, 110, 162), fill="black")
        case "parking":
            draw.rounded_rectangle((15, 15, 185, 185), 18, fill=(25, 75, 180, 255))
            draw.rectangle((70, 45, 92, 158), fill="white")
            draw.ellipse((70, 45, 140, 112), outline="white", width=22)
        case "gauge":
            draw.ellipse((10, 10, 190, 190), fill=(240, 240, 235, 255), outline=(60, 60, 60, 255), width=10)
            for step in range(11):
                angle = pi * (0.75 + 1.5 * step / 10)
                draw.line([_at(angle, 68), _at(angle, 84)], fill="black", width=5)
            draw.line([_at(0, 0), _at(pi * (0.75 + 1.5 * chance.random()), 64)], fill=(190, 30, 20, 255), width=8)
    return sign


def _at(angle: float, radius: float) -> tuple[float, float]:
    return 100 + radius * cos(angle), 100 + radius * sin(angle)
