"""An initramfs: the newc form of a cpio archive, packed, the same bytes for the same files."""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_TRAILER = "TRAILER!!!"
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"  # no name, no time, no system


@dataclass(frozen=True)
class Entry:
    """One file of the archive: its content, its mode with the kind of file, and for a device its numbers."""

    content: bytes = b""
    mode: int = stat.S_IFREG | 0o644
    device: tuple[int, int] = (0, 0)


FOLDER = Entry(mode=stat.S_IFDIR | 0o755)


def link(target: str) -> Entry:
    """A symbolic link to ``target``."""
    return Entry(target.encode(), stat.S_IFLNK | 0o777)


def program(content: bytes) -> Entry:
    """A file that can be run."""
    return Entry(content, stat.S_IFREG | 0o755)


def pack(entries: Mapping[str, Entry]) -> bytes:
    """The archive of these paths (relative, no leading slash), gzip-packed; folders above a path are added."""
    whole = dict(entries)
    for path in entries:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            whole.setdefault("/".join(parts[:depth]), FOLDER)
    squeezed = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    checksum = length = 0
    packed = [_GZIP_HEADER]
    for piece in _pieces(whole):
        checksum = zlib.crc32(piece, checksum)
        length += len(piece)
        packed.append(squeezed.compress(piece))
    packed += [squeezed.flush(), struct.pack("<II", checksum, length & 0xFFFFFFFF)]
    return b"".join(packed)


def _pieces(entries: Mapping[str, Entry]) -> Iterator[bytes]:
    for number, path in enumerate(sorted(entries), start=1):
        yield _header(path, entries[path], number)
        yield _padded(entries[path].content)
    yield _header(_TRAILER, Entry(mode=0), 0)


def _header(path: str, entry: Entry, inode: int) -> bytes:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.content), 0, 0, *entry.device, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(head)


def _padded(piece: bytes) -> bytes:
    return piece + b"\0" * (-len(piece) % 4)
