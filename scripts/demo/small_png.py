"""PNG files of 8-bit RGB pixels, with the standard library alone."""
import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def write_png(path, width, height, pixels):
    """pixels: RGB, row by row from the top."""
    stride = 3 * width
    rows = b"".join(b"\0" + bytes(pixels[y * stride:(y + 1) * stride]) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.write_bytes(SIGNATURE + b"".join(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
                                          for kind, data in chunks))


def read_png(path):
    """Width, height and pixels of a file that lora-generate or write_png wrote: 8-bit RGB, not interlaced."""
    data, place, compressed = path.read_bytes(), len(SIGNATURE), b""
    width = height = 0
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place:place + 8])
        body = data[place + 8:place + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", body)
            if (depth, colour, interlace) != (8, 2, 0):
                raise ValueError(f"{path}: found bit depth {depth}, colour type {colour}, interlacing {interlace}; expected 8, 2, 0")
        elif kind == b"IDAT":
            compressed += body
        place += length + 12
    return width, height, unfiltered(zlib.decompress(compressed), 3 * width, height)


def unfiltered(lines, stride, height):
    """Undoes the filter of each row (PNG specification, section 9)."""
    above, pixels = bytearray(stride), bytearray()
    for y in range(height):
        kind, row = lines[y * (stride + 1)], bytearray(lines[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride):
            left, up, corner = (row[i - 3], above[i], above[i - 3]) if i >= 3 else (0, above[i], 0)
            nearest = min((abs(up - corner), 0, left), (abs(left - corner), 1, up), (abs(left + up - 2 * corner), 2, corner))[2]
            row[i] = (row[i] + (0, left, up, (left + up) // 2, nearest)[kind]) & 255
        pixels += row
        above = row
    return bytes(pixels)
