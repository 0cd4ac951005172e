"""The script that a shell or node runs, read from this machine's /proc: regular files alone, and none out of its container."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence

SHELLS = frozenset({"sh", "dash", "bash", "ash", "zsh", "ksh", "ksh93", "mksh", "mksh-static"})
MANY = frozenset({"busybox", "toybox"})  # programs of many names
_READ = 16_000  # bytes
_HELD = {"bash": "fd/255", "dash": "fd/10", "sh": "fd/10"}  # where they keep it open
_INLINE = re.compile(rb"-[a-z]*c|-[ep]|-pe|--eval|--print")  # what follows is the script itself


def script(proc: int, pid: str, program: str, words: Sequence[bytes]) -> bytes:
    """The first bytes of its script; b"" for other programs, for none, and for one that cannot be read."""
    if program not in SHELLS and program != "node":
        return b""
    options = []
    for word in words[1:]:
        if word[:1] not in (b"-", b"+"):
            break
        options.append(word)
    name = next(iter(words[len(options) + 1 :]), b"")
    if not name or any(_INLINE.fullmatch(word) for word in options):
        return b""
    return next((text for path in _places(proc, pid, program, os.fsdecode(name)) if (text := _text(proc, path))), b"")


def _places(proc: int, pid: str, program: str, name: str) -> Iterator[str]:
    if program in _HELD:
        yield f"{pid}/{_HELD[program]}"
    try:
        folder = os.readlink(f"{pid}/cwd", dir_fd=proc)
    except OSError:
        return
    yield f"{pid}/root{os.path.join(folder, name)}"  # noqa: PTH118 - below another root


def _text(proc: int, path: str) -> bytes:
    """A pipe would keep us waiting, and a link would lead out of the container."""
    follow = 0 if "/fd/" in path else os.O_NOFOLLOW
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | follow, dir_fd=proc)
    except OSError:
        return b""
    try:
        return os.read(file, _READ) if stat.S_ISREG(os.fstat(file).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(file)
