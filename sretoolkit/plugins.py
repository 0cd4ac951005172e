"""Plug-ins: a folder of modules (and an entry-point group of the same dotted name) read as a table of names.

``Plugins("sretoolkit.metrics.sources", MetricSource)`` knows every module in that package without importing one;
``["prometheus"]`` imports that module alone and returns its one subclass of ``MetricSource``.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from sretoolkit.errors import ConfigError, UnknownPlugin

T = TypeVar("T")


class Plugins(Mapping[str, type[T]], Generic[T]):
    """The plug-ins of one kind, by the name that a user types."""

    def __init__(self, package: str, base: type[T]) -> None:
        self.package = package
        self.base = base
        self.kind = _singular(package.rpartition(".")[2].replace("_", " "))

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._modules(), *self._entry_points()}))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in set(self)

    def __getitem__(self, name: str) -> type[T]:
        """Load the plug-in ``name``; raises `UnknownPlugin` with the nearest names, `ConfigError` on a broken one."""
        if module := self._modules().get(name):
            return self._only_subclass(module)
        if entry_point := self._entry_points().get(name):
            loaded = _loaded(entry_point.load, f"entry point {entry_point.value}")
            if not (inspect.isclass(loaded) and issubclass(loaded, self.base)):
                raise ConfigError(f"entry point {entry_point.value} of {self.package} is no {self.base.__name__}")
            return loaded
        near = get_close_matches(str(name), list(self), n=1)
        raise UnknownPlugin(self.kind, name, known=list(self), hint=f"did you mean {near[0]!r}?" if near else "")

    def _modules(self) -> dict[str, str]:
        path = importlib.import_module(self.package).__path__
        found = (info.name for info in pkgutil.iter_modules(path) if not info.name.startswith("_"))
        return {name.replace("_", "-"): f"{self.package}.{name}" for name in found}

    def _entry_points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.package)}

    def _only_subclass(self, module_name: str) -> type[T]:
        module = _loaded(lambda: importlib.import_module(module_name), module_name)
        found = [
            thing
            for name, thing in vars(module).items()
            if not name.startswith("_")
            and inspect.isclass(thing)
            and issubclass(thing, self.base)
            and f"{thing.__module__}.".startswith(f"{module_name}.")
        ]
        if len(found) != 1:
            raise ConfigError(
                f"{module_name} must define exactly one subclass of {self.base.__name__}, it defines {len(found)}"
            )
        return found[0]


def _loaded(load: Callable[[], Any], what: str) -> Any:
    """What ``load`` gives; a plug-in that cannot be imported is a fault of the installation, said in one line."""
    try:
        return load()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"the plug-in {what} cannot be loaded: {type(error).__name__}: {error}",
            hint="install what it needs, or remove it",
        ) from error


def _singular(plural: str) -> str:
    return plural.removesuffix("ies") + "y" if plural.endswith("ies") else plural.removesuffix("s")
