"""Plug-ins: a folder of modules, and entry points of the same dotted name, read as a table."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from sretoolkit.errors import ConfigError, UnknownPlugin
from sretoolkit.plugins import Plugins

MakeKind = Callable[..., Plugins[BaseException]]
ONE = "class {name}(Exception):\n    'One.'\n"


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeKind:
    """Write a package of plug-ins (path -> source) and entry points (name -> value); gives the kind."""

    def make_kind(
        modules: dict[str, str], points: dict[str, str] | None = None, kind: str = "sources"
    ) -> Plugins[BaseException]:
        package = f"domain_{uuid.uuid4().hex}"
        for name, source in {
            "__init__.py": "",
            f"{kind}/__init__.py": "",
            **{f"{kind}/{n}": s for n, s in modules.items()},
        }.items():
            path = tmp_path / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {value.format(package=package)}" for name, value in (points or {}).items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{package}.{kind}]", *lines]) + "\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        return Plugins(f"{package}.{kind}", Exception)

    return make_kind


def test_a_module_is_a_plug_in_named_as_it_is_typed(make: MakeKind) -> None:
    """DESIGN rule 1: each module without a leading underscore is one plug-in, and `_` reads as `-`."""
    kind = make(
        {"nagios.py": ONE.format(name="Nagios"), "blue_green.py": ONE.format(name="BlueGreen"), "_help.py": "1/0"}
    )
    assert ["blue-green", "nagios"] == list(kind)
    assert ("BlueGreen", "Nagios") == (kind["blue-green"].__name__, kind["nagios"].__name__)
    assert (2, True, False, False) == (len(kind), "nagios" in kind, "_help" in kind, "blue_green" in kind)


def test_names_are_known_without_importing_any_plug_in(make: MakeKind) -> None:
    """A plug-in is imported when it is asked for, and no other one with it."""
    kind = make({"bad.py": "raise RuntimeError('imported')", "good.py": ONE.format(name="Good")})
    assert ["bad", "good"] == list(kind)
    assert "Good" == kind["good"].__name__
    assert f"{kind.package}.bad" not in sys.modules


def test_an_unknown_name_lists_the_known_and_the_nearest(make: MakeKind) -> None:
    """A typing error is answered with what there is, and what was meant; a mapping's `get` gives its default."""
    kind = make({"prometheus.py": ONE.format(name="Prometheus")})
    with pytest.raises(UnknownPlugin, match="no source named 'promethues'; there are: prometheus") as caught:
        kind["promethues"]
    assert ("did you mean 'prometheus'?", ("prometheus",)) == (caught.value.hint, caught.value.known)
    assert kind.get("nothing") is None


@pytest.mark.parametrize(
    ("plural", "singular"),
    [("sources", "source"), ("strategies", "strategy"), ("inventories", "inventory"), ("powers", "power")],
)
def test_the_kind_is_called_by_its_singular(make: MakeKind, plural: str, singular: str) -> None:
    """The word for one of them is the folder's name in the singular."""
    assert singular == make({}, kind=plural).kind


def test_a_plug_in_may_be_a_package(make: MakeKind) -> None:
    """DESIGN rule 1: when one file is too small a package is one plug-in, its class in a module of its own."""
    kind = make(
        {"grafana/__init__.py": "from .client import Grafana\n", "grafana/client.py": ONE.format(name="Grafana")}
    )
    assert "Grafana" == kind["grafana"].__name__


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("", "exactly one subclass of Exception, it defines 0"),
        (ONE.format(name="One") + ONE.format(name="Two"), "exactly one subclass of Exception, it defines 2"),
        ("from json import JSONDecodeError\n", "it defines 0"),
        (
            "import no_such_thing_at_all\n",
            "cannot be loaded: ModuleNotFoundError: No module named 'no_such_thing_at_all'",
        ),
        ("1 +\n", "cannot be loaded: SyntaxError"),
    ],
)
def test_a_broken_plug_in_is_said_in_one_line(make: MakeKind, source: str, why: str) -> None:
    """A module with none or two classes, or that cannot be imported, is a ConfigError and no traceback."""
    with pytest.raises(ConfigError, match=why):
        make({"broken.py": source})["broken"]


def test_a_private_class_beside_the_plug_in_is_no_second_one(make: MakeKind) -> None:
    """What begins with an underscore is the plug-in's own affair."""
    source = "class _Shared(Exception):\n    pass\nclass Real(_Shared):\n    pass\n"
    assert "Real" == make({"real.py": source})["real"].__name__


def test_third_parties_join_by_an_entry_point_of_the_same_name(make: MakeKind) -> None:
    """DESIGN rule 1: an entry-point group of the same dotted name joins; our own module wins over one of its name."""
    kind = make({"own.py": ONE.format(name="Own")}, {"theirs": "builtins:ValueError", "own": "builtins:KeyError"})
    assert (["own", "theirs"], "ValueError", "Own") == (list(kind), kind["theirs"].__name__, kind["own"].__name__)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("builtins:dict", "is no Exception"),
        ("builtins:len", "is no Exception"),
        ("no_such_thing:X", "cannot be loaded"),
    ],
)
def test_a_wrong_entry_point_is_said_in_one_line(make: MakeKind, value: str, why: str) -> None:
    """An entry point that is no class of the kind, or leads nowhere, is a ConfigError that names it."""
    with pytest.raises(ConfigError, match=why):
        make({}, {"theirs": value})["theirs"]
