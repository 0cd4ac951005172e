"""The house itself: layers, imports, sizes, names, docstrings, and notebooks that stay thin."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from sretoolkit.runbook.notebook import Runbook, source_of, tags_of

REPOSITORY = Path(__file__).parents[1]
HOUSE = REPOSITORY / "sretoolkit"
MODULES = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(HOUSE.rglob("*.py"))
}
TESTS = sorted((REPOSITORY / "tests").rglob("*.py"))
NOTEBOOKS = sorted([*REPOSITORY.glob("runbooks/*.ipynb"), *REPOSITORY.glob("notebooks/*.ipynb")])
BOTTOM = (
    "actor",
    "chart",
    "clock",
    "config",
    "errors",
    "http",
    "journal",
    "lazy",
    "lease",
    "plan",
    "plugins",
    "report",
    "secrets",
    "store",
)
LAYERS = [
    ("cli",),
    ("server", "widgets", "lab"),
    ("runbook",),
    ("pid1", "rollout", "provision", "review"),
    ("hosts", "metrics", "measure"),
    BOTTOM,
]
LAYER = {room: len(LAYERS) - number for number, rooms in enumerate(LAYERS) for room in rooms}
ONLY_IN = {
    "papermill": "runbook", "ipywidgets": "widgets", "anywidget": "widgets", "click": "cli", "rich": "cli",
    "jupyter_server": "lab", "jupyter_scheduler": "lab", "tornado": "lab",
}  # fmt: skip
HEAVY = (
    "pandas", "numpy", "kubernetes", "fabric", "paramiko", "papermill", "ipywidgets", "anywidget", "sqlalchemy",
    "jupyter_client", "nbformat", "prometheus_api_client", "requests", "rich",
)  # fmt: skip
BANNED = {"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"}
MOST_LINES, MOST_IN_A_FUNCTION, MOST_IN_A_CELL = 400, 40, 10


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _room(module: str) -> str:
    """The room of a module: the first name below sretoolkit; "" for the package itself and for `python -m sretoolkit`."""
    name = module.split(".")[1] if "." in module else ""
    return "" if name.startswith("__") else name


def _for_types_only(tree: ast.Module) -> set[ast.AST]:
    """What stands under `if TYPE_CHECKING:`; a type checker reads it, and no program ever does."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            found |= {inner for statement in node.body for inner in ast.walk(statement)}
    return found


def _imports(module: str, *, types: bool = True) -> Iterator[tuple[int, str]]:
    """Every import in a module, in functions too: line, and the dotted name (of a module where that can be known)."""
    path = MODULES[module]
    tree = _tree(path)
    left_out = set() if types else _for_types_only(tree)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if node in left_out:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (above, node.module) if part)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downward(module: str) -> None:
    """DESIGN rule 3: a module imports from its own room or from below, never from above or from a sibling."""
    own = _room(module)
    wrong = []
    for line, name in _imports(module):
        other = _room(name)
        if not name.startswith("sretoolkit") or not own or other in ("", own):
            continue
        if LAYER[other] > LAYER[own] or (LAYER[other] == LAYER[own] and own not in BOTTOM):
            wrong.append(f"{module}:{line} imports {name}")
    assert [] == wrong


def test_every_room_has_a_layer() -> None:
    """A new room is placed in the design before it is built."""
    assert set() == {_room(module) for module in MODULES} - set(LAYER) - {""}


def test_there_is_no_circle_in_the_bottom_layer() -> None:
    """DESIGN "A test reads the imports": the bottom modules have an order; type annotations alone may look up."""
    arrows: dict[str, set[str]] = {room: set() for room in BOTTOM}
    for module in MODULES:
        if (own := _room(module)) in arrows:
            arrows[own] |= {
                _room(name) for _, name in _imports(module, types=False) if name.startswith("sretoolkit.")
            } - {own}
    order: list[str] = []
    while ready := [room for room in arrows if room not in order and arrows[room] <= set(order)]:
        order += ready
    assert set() == set(BOTTOM) - set(order), {room: arrows[room] - set(order) for room in set(BOTTOM) - set(order)}


def test_there_is_no_circle_between_modules() -> None:
    """What is imported when a module is loaded never comes back to it; a package and its own modules count as one."""
    arrows = {}
    for module in MODULES:
        tree = _tree(MODULES[module])
        at_load = {node.lineno for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)}
        targets = {name for line, name in _imports(module) if line in at_load and name in MODULES}
        arrows[module] = {name for name in targets if not module.startswith(f"{name}.") and name != module}
    done: set[str] = set()
    while ready := {module for module in arrows if module not in done and arrows[module] <= done}:
        done |= ready
    assert [] == sorted(set(MODULES) - done)


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_stays_in_its_room(library: str) -> None:
    """DESIGN rule 3: only runbook/ imports papermill, only widgets/ the widgets, only cli/ what draws on a terminal."""
    wrong = [
        f"{module}:{line}"
        for module in MODULES
        for line, name in _imports(module)
        if name.split(".")[0] == library and _room(module) != ONLY_IN[library]
    ]
    assert [] == wrong


@pytest.mark.parametrize(
    "module",
    ["sretoolkit", "sretoolkit.plan", "sretoolkit.runbook", "sretoolkit.hosts", "sretoolkit.metrics", "sretoolkit.cli.main",
     "sretoolkit.journal", "sretoolkit.lease"],
)  # fmt: skip
def test_importing_is_cheap(module: str) -> None:
    """DESIGN rule 3: a fresh interpreter that imports it has loaded none of the heavy libraries."""
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "[]" == done.stdout.strip()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_reads_in_one_sitting(module: str) -> None:
    """DESIGN "Size": at most 400 lines a module and 40 a function (signature, docstring and blank lines apart)."""
    assert len(MODULES[module].read_text().splitlines()) <= MOST_LINES
    long = {}
    for node in ast.walk(_tree(MODULES[module])):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            text = MODULES[module].read_text().splitlines()[body[0].lineno - 1 : body[-1].end_lineno]
            lines = sum(bool(line.strip()) for line in text)
            if lines > MOST_IN_A_FUNCTION:
                long[node.name] = lines
    assert {} == long


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_named_for_what_it_is(module: str) -> None:
    """DESIGN "Names": no utils, common, helpers, manager, base."""
    assert set() == set(module.split(".")) & BANNED


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_described(module: str) -> None:
    """DESIGN "Docstrings": module, public class, function and method say in a sentence what they are."""
    tree = _tree(MODULES[module])
    missing = [] if ast.get_docstring(tree) else [module]
    nodes: list[tuple[str, ast.stmt]] = [("", node) for node in tree.body]
    while nodes:
        prefix, node = nodes.pop()
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            overloads = [ast.unparse(mark) for mark in node.decorator_list]
            if not ast.get_docstring(node) and not any(mark.endswith(("overload", ".setter")) for mark in overloads):
                missing.append(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                nodes += [(f"{node.name}.", inner) for inner in node.body]
    if Path(MODULES[module]).name == "__init__.py" and not tree.body:
        missing = []
    assert [] == missing


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_test_says_the_behaviour(path: Path) -> None:
    """DESIGN "Tests": one sentence of docstring says the behaviour."""
    silent = [
        node.name
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert [] == silent


@pytest.mark.parametrize("module", MODULES)
def test_what_a_module_exports_is_sorted(module: str) -> None:
    """DESIGN "The house": a sorted `__all__` (constants, classes, functions, as the linter sorts), each name once."""
    for node in _tree(MODULES[module]).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            try:
                names = ast.literal_eval(node.value)
            except ValueError:  # made from a table of homes, as sorted(...)
                assert ast.unparse(node.value).startswith("sorted("), module
                continue
            order = sorted(set(names), key=lambda name: ((not name.isupper(), not name[0].isupper()), name))
            assert order == list(names)


def _code_cells(path: Path) -> list[dict[str, object]]:
    return [cell for cell in Runbook.read(path).cells if cell["cell_type"] == "code"]


NOTEBOOK = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
MAY_IMPORT = ("sretoolkit", "typing", "datetime", "IPython.display")


@NOTEBOOK
def test_a_notebook_is_thin(path: Path) -> None:
    """DESIGN "Notebooks": no outputs, at most 10 lines a cell, no def, class or loop, imports from us alone."""
    for cell in _code_cells(path):
        source = source_of(cell)
        assert ([], None) == (cell["outputs"], cell["execution_count"])
        assert len(source.splitlines()) <= MOST_IN_A_CELL
        for node in ast.walk(ast.parse(source)):
            assert not isinstance(
                node,
                ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.For | ast.AsyncFor | ast.While | ast.Lambda,
            ), ast.unparse(node)
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = (
                    [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                )
                assert [] == [
                    name for name in names if not f"{name}.".startswith(tuple(f"{may}." for may in MAY_IMPORT))
                ]


@NOTEBOOK
def test_a_notebook_is_written_in_one_way(path: Path) -> None:
    """Normalised JSON and stable ids, so that a change shows as what it is."""
    text = path.read_text(encoding="utf-8")
    content = json.loads(text)
    assert json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n" == text
    ids = [cell["id"] for cell in content["cells"]]
    assert (len(ids), (4, 5)) == (len(set(ids)), (content["nbformat"], content["nbformat_minor"]))
    assert [] == [
        name
        for name in ids
        if not name.replace("-", "").isalnum() or (len(name) == 8 and name.isalnum() and any(map(str.isdigit, name)))
    ]


@pytest.mark.parametrize(
    "path", [path for path in NOTEBOOKS if path.parent.name == "runbooks"], ids=lambda path: path.stem
)
def test_a_runbook_says_what_it_is_for(path: Path) -> None:
    """DESIGN "Notebooks": purpose, risk and owner; one cell of parameters, each with help, which can be read."""
    runbook = Runbook.read(path)
    assert [] == [key for key in ("title", "purpose", "risk", "owner") if not runbook.metadata.get(key)]
    assert 1 == sum("parameters" in tags_of(cell) for cell in runbook.cells)
    assert [] == [item.name for item in runbook.parameters.items if not item.help]
    first = source_of(runbook.cells[0])
    assert [] == [word for word in ("**Purpose:**", "**Risk:**", "**Owner:**") if word not in first]


def test_there_are_notebooks_to_look_at() -> None:
    """The checks above look at something."""
    assert {"pid1_health", "tcp_congestion", "query_metrics"} <= {path.stem for path in NOTEBOOKS}


def test_the_changelog_knows_this_version() -> None:
    """What is released is described."""
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    lines = (REPOSITORY / "CHANGELOG.md").read_text().splitlines()
    assert [line for line in lines if line.startswith("## ") and version in line], f"CHANGELOG.md has no ## {version}"
