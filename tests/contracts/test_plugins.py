"""What every kind of plug-in fulfils, whatever the plug-ins do."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import sretoolkit
from sretoolkit.errors import UnknownPlugin
from sretoolkit.plugins import Plugins

HOUSE = Path(sretoolkit.__file__).parent


def _kinds() -> list[tuple[str, str]]:
    """Every `X = Plugins("...")` in the package: (module, name)."""
    found = []
    for path in sorted(HOUSE.rglob("*.py")):
        module = ".".join(("sretoolkit", *path.relative_to(HOUSE).with_suffix("").parts))
        for statement in ast.parse(path.read_text()).body:
            value = getattr(statement, "value", None)
            if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "Plugins":
                target = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0]  # type: ignore[attr-defined]
                found.append((module, ast.unparse(target)))
    return found


KINDS = _kinds()


@pytest.fixture(params=KINDS, ids=[f"{module}.{name}" for module, name in KINDS])
def kind(request: pytest.FixtureRequest) -> Plugins[Any]:
    """Each kind in the package."""
    module, name = request.param
    found: Plugins[Any] = getattr(importlib.import_module(module), name)
    return found


def test_there_are_kinds() -> None:
    """The scan finds the kinds that have been there from the beginning."""
    assert {"DIALECTS", "CONNECTIONS", "PLATFORMS", "SOURCES", "INITS"} <= {name for _, name in KINDS}


def test_the_folder_is_a_plural_inside_a_package(kind: Plugins[Any]) -> None:
    """DESIGN rule 1: a kind is a plural folder; its name is also that of the entry-point group."""
    assert kind.package.startswith("sretoolkit.")
    assert kind.package.endswith("s")
    assert kind.kind != kind.package.rpartition(".")[2]


def test_each_name_is_one_that_a_user_types(kind: Plugins[Any]) -> None:
    """Names are lower case, with `-` for `_`, and come sorted."""
    assert sorted(kind) == list(kind)
    assert [] == [name for name in kind if not re.fullmatch(r"[a-z][a-z0-9-]*", name)]
    assert list(kind) == [name for name in kind if name in kind]


def test_each_plug_in_loads_as_one_described_class(kind: Plugins[Any]) -> None:
    """Each name gives a subclass of the kind's base, and a sentence on what it is."""
    for name, plugin in kind.items():
        assert issubclass(plugin, kind.base), name
        assert plugin is not kind.base, name
        assert not inspect.isabstract(plugin), name
        assert plugin.__doc__, name


def test_an_unknown_name_is_refused_with_the_known_ones(kind: Plugins[Any]) -> None:
    """What is not there raises UnknownPlugin with every name that is, and the nearest."""
    with pytest.raises(UnknownPlugin) as caught:
        kind["no-such-plug-in-at-all"]
    assert tuple(kind) == caught.value.known
    for name in kind:
        with pytest.raises(UnknownPlugin, match=re.escape(f"did you mean {name!r}?")):
            kind[f"{name}{name[-1]}"]
        break


def test_somebody_elses_joins_by_entry_point(
    kind: Plugins[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN rule 1: third parties join by an entry-point group of the same dotted name."""
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    base = kind.base
    (info / "entry_points.txt").write_text(f"[{kind.package}]\ntheirs = {base.__module__}:{base.__qualname__}\n")
    before = list(kind)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert sorted([*before, "theirs"]) == list(kind)
    assert base is kind["theirs"]
