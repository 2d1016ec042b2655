"""Small grey pictures as PNG data addresses: stored, not compressed, so equal pixels give equal bytes everywhere."""

from __future__ import annotations

import base64
import struct
import zlib

from bitprop.report.data import Picture

__all__ = ["png_address"]


def png_address(picture: Picture) -> str:
    """``data:image/png;base64,…``: ``low`` is white, ``high`` is black; values beyond them saturate."""
    span = picture.high - picture.low
    shades = [
        255 - round(255 * min(1.0, max(0.0, (value - picture.low) / span if span < float("inf") else 0.0)))
        for value in picture.values
    ]
    width = picture.columns
    rows = b"".join(b"\0" + bytes(shades[row * width : (row + 1) * width]) for row in range(picture.rows))
    header = struct.pack(">IIBBBBB", width, picture.rows, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", _stored(rows)), (b"IEND", b""))
    )
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _stored(content: bytes) -> bytes:
    """A zlib stream of stored blocks (RFC 1950 and 1951), which no compressor's version can change."""
    blocks = [content[at : at + 65535] for at in range(0, len(content), 65535)]
    body = b"".join(
        struct.pack("<BHH", index == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for index, block in enumerate(blocks)
    )
    return b"\x78\x01" + body + struct.pack(">I", zlib.adler32(content))
