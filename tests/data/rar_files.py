"""Rar archives, as version 4 of the format stores files without packing them.

The format is that of the technical note that comes with unrar (technote.txt of version 3).
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

MARKER = b"Rar!\x1a\x07\x00"
MAIN, FILE, END = 0x73, 0x74, 0x7B
LONG, IS_FOLDER, SKIP_IF_UNKNOWN = 0x8000, 0x00E0, 0x4000
UNIX, VERSION, STORED = 3, 20, 0x30
NOON = 0x5A216000
"""2025-01-01 12:00 as MS-DOS writes it."""


def write_rar(path: Path, folder: Path) -> Path:
    """A rar of all that is in a folder, by names relative to it."""
    blocks = [MARKER, _block(MAIN, 0, bytes(6))]
    for member in sorted(folder.rglob("*")):
        content = b"" if member.is_dir() else member.read_bytes()
        name = member.relative_to(folder).as_posix().encode()
        flags, mode = (LONG | IS_FOLDER, 0o40755) if member.is_dir() else (LONG, 0o100644)
        size, check = len(content), zlib.crc32(content)
        fields = struct.pack(
            "<IIBIIBBHI", size, size, UNIX, check, NOON, VERSION, STORED, len(name), mode
        )
        blocks += [_block(FILE, flags, fields + name), content]
    blocks.append(_block(END, SKIP_IF_UNKNOWN, b""))
    path.write_bytes(b"".join(blocks))
    return path


def _block(kind: int, flags: int, fields: bytes) -> bytes:
    header = struct.pack("<BHH", kind, flags, 7 + len(fields)) + fields
    return struct.pack("<H", zlib.crc32(header) & 0xFFFF) + header
