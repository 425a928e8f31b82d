"""tests/data/image: small images of every kind that lora-train decodes, and what Pillow makes of them, of images that are resized, and of
damaged ones.

    python scripts/golden/images.py              # writes the sources once, and the expected values
    python scripts/golden/images.py --sources    # writes the sources again (other versions of the encoders give other bytes)

A damaged image is a source and a number, from which tests/image/damaged.h makes the same bytes.
"""
import argparse
import hashlib
import io
import json
import pathlib
import struct
import warnings
import zlib

import numpy as np
import PIL
from PIL import Image, ImageOps, features

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data" / "image"
MAX_PIXELS = 1 << 20  # of damaged images: Limits of the test
NUM_DAMAGED = 500
MASK = (1 << 64) - 1


class Random:
    """SplitMix64 (Steele, Lea and Flood 2014)."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, limit):
        return self.next() % limit


def picture(width, height, seed, channels=3):
    """Smooth colours with a few sharp edges."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    levels = []
    for channel in range(channels):
        wave = 127 + 90 * np.sin((x * (1 + channel) + seed) / 7) * np.cos((y + channel * 5) / 5)
        wave[height // 3 : height // 2, width // 4 : width // 2] = 255 * ((channel + seed) % 2)
        levels.append(wave)
    return np.stack(levels, axis=-1).clip(0, 255).astype(np.uint8)


def noise(width, height, seed):
    """RGB bytes of Random; the test makes the same."""
    random = Random(seed)
    return np.array([random.next() & 255 for _ in range(width * height * 3)], np.uint8).reshape(height, width, 3)


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(samples, depth, color_type, extra=b"", end=b""):
    """A PNG file of samples [height, width, per pixel], with depths that Pillow does not write."""
    height, width, _ = samples.shape
    rows = samples.reshape(height, -1)
    if depth == 16:
        packed = [row.astype(">u2").tobytes() for row in rows]
    elif depth == 8:
        packed = [row.astype(np.uint8).tobytes() for row in rows]
    else:
        bits = ["".join(format(int(value), f"0{depth}b") for value in row) for row in rows]
        packed = [bytes(int(line[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(line), 8)) for line in bits]
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in packed), 9)
    half = len(data) // 2
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data[:half]) + chunk(b"IDAT", data[half:]) + end
            + chunk(b"IEND", b""))


def interlaced(samples):
    """An RGB file of 8 bits in Adam7."""
    height, width, _ = samples.shape
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b""
    for left, top, columns, rows in passes:
        part = samples[top::rows, left::columns]
        if part.size:
            raw += b"".join(b"\0" + row.tobytes() for row in part)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def exif(orientation):
    values = Image.Exif()
    values[0x010E] = "a longer description, whose text is not in its entry"
    values[0x0112] = orientation
    return values


def jpegs():
    image = Image.fromarray(picture(47, 33, 1))
    yield "baseline.jpg", saved(image, "JPEG", quality=85)
    yield "progressive.jpg", saved(image, "JPEG", quality=70, progressive=True, subsampling="4:2:2")
    yield "restart.jpg", saved(image, "JPEG", quality=90, subsampling="4:4:4", restart_marker_blocks=3)
    yield "grey.jpg", saved(image.convert("L"), "JPEG", quality=80)
    yield "cmyk.jpg", saved(Image.fromarray(picture(24, 18, 3, 4), "CMYK"), "JPEG", quality=80)
    small = Image.fromarray(picture(14, 9, 2))
    for orientation in range(1, 9):
        yield f"orientation_{orientation}.jpg", saved(small, "JPEG", quality=50, exif=exif(orientation))


def pngs():
    levels = picture(29, 19, 4, 4)
    grey = levels[:, :, :1].astype(int)
    wide = levels.astype(int) * 257 - 100 * (levels > 128)
    yield "rgb.png", saved(Image.fromarray(levels[:, :, :3]), "PNG")
    yield "rgba.png", saved(Image.fromarray(levels), "PNG")
    yield "grey_alpha.png", saved(Image.fromarray(levels).convert("LA"), "PNG")
    yield "palette.png", saved(Image.fromarray(levels[:, :, :3]).quantize(40), "PNG", transparency=bytes([0, 90, 200, 255, 30]))
    yield "interlaced.png", interlaced(levels[:, :, :3])
    for depth in (1, 2, 4):
        yield f"grey_{depth}.png", png(grey >> (8 - depth), depth, 0)
        colors = picture(2**depth - 1, 1, depth).tobytes()  # the last index has no colour
        yield f"palette_{depth}.png", png(grey >> (8 - depth), depth, 3, chunk(b"PLTE", colors))
    yield "grey_16.png", png(grey * 2, 16, 0)
    yield "rgb_16.png", png(wide[:, :, :3], 16, 2)
    yield "grey_alpha_16.png", png(wide[:, :, :2], 16, 4)
    yield "rgba_16.png", png(wide, 16, 6)
    yield "grey_transparent.png", png(grey, 8, 0, chunk(b"tRNS", struct.pack(">H", int(grey[3, 3, 0]))))
    yield "rgb_transparent.png", png(levels[:, :, :3], 8, 2, chunk(b"tRNS", struct.pack(">3H", *map(int, levels[3, 3, :3]))))
    yield "exif.png", png(levels[:, :, :3], 8, 2, end=chunk(b"eXIf", exif(6).tobytes()[6:]))
    xmp = b'XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
    yield "xmp.png", png(levels[:, :, :3], 8, 2, chunk(b"iTXt", xmp))


def webps():
    image = Image.fromarray(picture(37, 23, 5))
    levels = Image.fromarray(picture(21, 17, 6, 4))
    yield "lossy.webp", saved(image, "WEBP", quality=80)
    yield "lossless.webp", saved(Image.fromarray(picture(21, 17, 6)), "WEBP", lossless=True)
    yield "alpha.webp", saved(levels, "WEBP", quality=70, exact=True)
    yield "lossless_alpha.webp", saved(levels, "WEBP", lossless=True, exact=True)
    yield "exif.webp", saved(image, "WEBP", quality=40, exif=exif(5))
    frames = [Image.fromarray(picture(20, 12, seed)) for seed in (7, 8)]
    yield "animated.webp", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=100)


def with_checksums(data):
    """A PNG file whose checksums are right as far as its chunks go."""
    out = bytearray(data)
    position = 8
    while position + 12 <= len(out):
        size = int.from_bytes(out[position : position + 4], "big")
        end = position + 8 + size
        if end + 4 > len(out):
            break
        out[end : end + 4] = struct.pack(">I", zlib.crc32(bytes(out[position + 4 : end])))
        position = end + 4
    return bytes(out)


def damaged(sources, number):
    """The same as damaged() in tests/image/damaged.h: (name, bytes)."""
    random = Random(number)
    names = sorted(sources)
    name = names[number % len(names)]
    data = bytearray(sources[name])
    near_start = random.below(2) == 1

    def place():
        return random.below(min(len(data), 64 if near_start else len(data)))

    kind = random.below(6)
    if kind == 0:
        for _ in range(1 + random.below(4)):
            at = place()
            data[at] = random.next() & 255
    elif kind == 1:
        del data[random.below(len(data)) :]
    elif kind == 2:
        at = place()
        count = min(1 + random.below(32), len(data) - at)
        data[at : at + count] = bytes(count)
    elif kind == 3:
        at = place()
        data[at:at] = bytes(random.next() & 255 for _ in range(1 + random.below(8)))
    elif kind == 4:
        at = place()
        del data[at : at + 1 + random.below(8)]
    else:
        start, at = place(), place()
        count = min(1 + random.below(32), len(data) - max(start, at))
        data[at : at + count] = bytes(data[start : start + count])
    if name.endswith(".png") and random.below(2) == 1:
        return name, with_checksums(data)
    return name, bytes(data)


def digest(image):
    return hashlib.sha256(image.tobytes()).hexdigest()


def read(data):
    image = Image.open(io.BytesIO(data), formats=["JPEG", "PNG", "WEBP"])
    if image.width * image.height > MAX_PIXELS:
        raise ValueError("larger than the limit")
    return ImageOps.exif_transpose(image)


def over(image, color):
    background = Image.new("RGBA", image.size, color + (255,))
    return Image.alpha_composite(background, image.convert("RGBA")).convert("RGB")


def decoded(data):
    image = read(data)
    return {"size": list(image.size), "dropped": digest(image.convert("RGB")), "white": digest(over(image, (255, 255, 255))),
            "teal": digest(over(image, (0, 128, 127)))}


def resized():
    image = Image.fromarray(noise(83, 61, 1))
    filters = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    sizes = [(83, 61), (64, 64), (16, 10), (83, 7), (5, 61), (1, 1), (200, 150), (100, 3), (7, 190)]
    return [{"filter": name, "size": list(size), "pixels": digest(image.resize(size, filter))}
            for name, filter in filters.items() for size in sizes]


def outcome(data):
    """The first digits of the digest of the pixels, or None where Pillow raises."""
    try:
        image = read(data).convert("RGB")
    except Exception:  # Pillow raises many kinds
        return None
    return f"{image.width}x{image.height}:{digest(image)[:16]}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sources", action="store_true")
    write_sources = parser.parse_args().sources or not FOLDER.is_dir() or not any(FOLDER.iterdir())
    warnings.simplefilter("ignore")
    Image.init()
    FOLDER.mkdir(parents=True, exist_ok=True)
    if write_sources:
        for name, data in [*jpegs(), *pngs(), *webps()]:
            (FOLDER / name).write_bytes(data)
    sources = {file.name: file.read_bytes() for file in FOLDER.iterdir() if file.suffix != ".json"}
    versions = {"pillow": PIL.__version__, "libjpeg_turbo": features.version("libjpeg_turbo"), "webp": features.version("webp")}
    expected = {"versions": versions, "images": {name: decoded(sources[name]) for name in sorted(sources)}, "resized": resized(),
                "damaged": [outcome(damaged(sources, number)[1]) for number in range(NUM_DAMAGED)]}
    (FOLDER / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
    errors = sum(value is None for value in expected["damaged"])
    print(f"{len(sources)} images, {sum(map(len, sources.values()))} bytes; {errors} of {NUM_DAMAGED} damaged ones are errors")


if __name__ == "__main__":
    main()
