"""The records of a scan, out of all that a host printed; what they mean is said in ``scan.sh``."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections import defaultdict

from sretoolkit.errors import HostError

Records = dict[str, list[str]]

_MARKS = re.compile(r"^begin (packed|plain)\n(.*)^end of scan$", re.MULTILINE | re.DOTALL)
_LARGEST = 1 << 28  # bytes of records; more is no scan
_GZIP = 31  # zlib's number for a gzip envelope
_SHOWN = 200  # characters of what was seen instead
LINUX = "it must be Linux with /proc, sh, grep, sed, xargs, awk, ls, dd, od and tr"


def records(text: str, host: str) -> Records:
    """The records by kind, whatever else stands around them; raises `HostError` with what was seen when they are not whole."""
    found = _MARKS.search(text.replace("\r\n", "\n"))
    if found is None:
        raise _unread(host, f"the scan did not get to its end; it printed {_shown(text)}")
    body = _unpacked(found[2], host) if found[1] == "packed" else found[2]
    made: Records = defaultdict(list)
    for line in body.split("\n"):
        kind, _, rest = line.partition("\t")
        made[kind].append(rest)
    if not made["end"] or len(made["host"]) != 1 or made["host"][0].count("\t") < 7:
        raise _unread(host, f"the scan is not whole; it begins with {_shown(body)}")
    return made


def _unpacked(text: str, host: str) -> str:
    try:
        packed = base64.b64decode("".join(text.split()), validate=True)
        reader = zlib.decompressobj(_GZIP)
        body = reader.decompress(packed, _LARGEST)
    except (binascii.Error, zlib.error) as error:
        raise _unread(host, f"something printed into the scan ({error}): {_shown(text)}") from None
    if not reader.eof:
        raise _unread(host, f"the packed scan is cut off or larger than {_LARGEST} bytes")
    return body.decode("utf-8", "backslashreplace")


def _unread(host: str, why: str) -> HostError:
    return HostError(f"{host or 'the host'}: its processes cannot be read: {why}", host=host, hint=LINUX)


def _shown(text: str) -> str:
    """A harmless piece of what was seen."""
    piece = text.strip()
    return repr(piece[:_SHOWN]) + (f" and {len(piece) - _SHOWN} more characters" if len(piece) > _SHOWN else "")
