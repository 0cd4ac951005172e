"""A linter for what starts containers: nothing is run, so what depends on the program inside is called uncertain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sretoolkit.errors import ConfigError
from sretoolkit.pid1.lint.format import FORMATS, Format, content
from sretoolkit.pid1.lint.lined import documents
from sretoolkit.pid1.lint.rules import judge
from sretoolkit.pid1.lint.start import Start
from sretoolkit.pid1.sighting import Sighting

__all__ = ["judge", "lint", "starts"]

_ORDER = ("dockerfile", "compose", "kubernetes", "image")
_YAML = (".yaml", ".yml")
_LEFT_OUT = {".git", "node_modules", ".venv", "__pycache__"}


def lint(path: Path, *, target: str = "") -> list[Sighting]:
    """What is to be said of a file, or of every file in a folder that is known; ``target``: a stage, service or image.

    Raises `ConfigError` when it cannot be read, is of no known kind, or the folder holds none.
    """
    return [sighting for start in starts(path, target=target) for sighting in judge(start)]


def starts(path: Path, *, target: str = "") -> Sequence[Start]:
    """The containers of a file or folder; raises as `lint` does. In a folder, one that cannot be read is said to be so."""
    if not path.exists():
        raise ConfigError(f"there is no file {path}", hint="name a Dockerfile, a Compose file, a manifest or a folder")
    found = _format(path)
    if found is not None:
        return found.starts(path, target=target)
    if path.is_dir():
        read = [start for each in _files(path) for start in _among_others(each)]
        if not read:
            raise ConfigError(f"no file in {path} is of a known kind", hint=f"known: {', '.join(FORMATS)}")
        return read
    if path.suffix.lower() in _YAML:
        documents(content(path), path)  # what is wrong with it says more than that it is not known
    hint = f"known are: {', '.join(FORMATS)}; a Dockerfile is known by its name (Dockerfile.web, web.Dockerfile)"
    raise ConfigError(f"{path} is of no kind that is known here", hint=hint)


def _among_others(path: Path) -> Sequence[Start]:
    """What a file in a folder starts; a fault of one file does not hide the others."""
    try:
        if (found := _format(path)) is not None:
            return found.starts(path)
        if path.suffix.lower() in _YAML:
            documents(content(path), path)
    except ConfigError as error:
        return [Start(subject=path.name, path=str(path), line=1, unknown_because=error.message)]
    return []


def _format(path: Path) -> Format | None:
    names = [*(name for name in _ORDER if name in FORMATS), *(name for name in FORMATS if name not in _ORDER)]
    return next((kind for name in names if (kind := FORMATS[name]()).knows(path)), None)


def _files(folder: Path) -> Iterator[Path]:
    """Files below a folder, in order; links are not followed out of it."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink() and path.name not in _LEFT_OUT:
            yield from _files(path)
        elif path.is_file():
            yield path
