"""One kind of file that says how containers are started; each is a module in ``formats/``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from sretoolkit.errors import ConfigError
from sretoolkit.pid1.lint.start import Start
from sretoolkit.plugins import Plugins

_MOST = 20 * 1024 * 1024  # bytes of a file that people write


class Format(ABC):
    """Reads one kind of file."""

    @abstractmethod
    def knows(self, path: Path) -> bool:
        """Whether this file is of its kind, by its name, else by its content; never raises for a strange one."""

    @abstractmethod
    def starts(self, path: Path, *, target: str = "") -> Sequence[Start]:
        """The containers of a file; ``target`` chooses a stage. Raises `ConfigError` when it cannot be read."""


FORMATS: Plugins[Format] = Plugins("sretoolkit.pid1.lint.formats", Format)  # type: ignore[type-abstract]


def content(path: Path) -> str:
    """The text of a file; raises `ConfigError` when it cannot be read, is not UTF-8 or larger than people write."""
    try:
        if path.stat().st_size > _MOST:
            raise ConfigError(f"{path} is larger than {_MOST} bytes", hint="name the file that was meant")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", hint="is it the file that was meant?") from error


def literal(text: str) -> str:
    """Text that stays as it is where placeholders are filled in."""
    return text.replace("{", "{{").replace("}", "}}")
