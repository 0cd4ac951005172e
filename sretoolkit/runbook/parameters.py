"""Parameters: read from the cell tagged ``parameters`` without running it, and checked all at once before a kernel starts."""

from __future__ import annotations

import ast
import io
import keyword
import tokenize
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import date, timedelta
from difflib import get_close_matches
from typing import Any

from sretoolkit.errors import ParameterError, SREToolkitError
from sretoolkit.runbook.annotations import kind_of
from sretoolkit.runbook.kinds import Fault, Kind, kind_of_value
from sretoolkit.secrets import Secret


@dataclass(frozen=True)
class Parameter:
    """One typed input of a runbook. ``required`` when the cell gives no default."""

    name: str
    kind: Kind
    default: Any = None
    required: bool = False
    help: str = ""


@dataclass(frozen=True)
class Parameters:
    """All inputs of one runbook, in the order of the cell."""

    runbook: str
    items: tuple[Parameter, ...]
    spelling: Mapping[str, str]

    def check(self, given: Mapping[str, Any], *, texts: Collection[str] = ()) -> dict[str, Any]:
        """The value of every parameter; raises `ParameterError` with every fault at once.

        The values named in ``texts`` are texts from a command line, and are parsed by the declared types.
        """
        known = {item.name: item for item in self.items}
        faults = [_unknown(name, list(known)) for name in given if name not in known]
        values: dict[str, Any] = {}
        for item in self.items:
            try:
                if item.name not in given:
                    if item.required:
                        raise Fault(f"is required ({item.kind}{': ' + item.help if item.help else ''})")
                    values[item.name] = deepcopy(item.default)
                elif item.name in texts:
                    values[item.name] = item.kind.parse(given[item.name])
                else:
                    values[item.name] = item.kind.accept(given[item.name])
            except Fault as fault:
                faults.append(f"{item.name}: {_unseen(item.kind, fault) if item.name in given else fault}")
        if faults:
            raise ParameterError(self.runbook, faults, hint=f"`sretoolkit show {self.runbook}` lists them")
        return values

    def encode(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as JSON data; secrets by reference."""
        return {item.name: item.kind.encode(values[item.name]) for item in self.items}

    def code(self, values: Mapping[str, Any]) -> str:
        """Python source that assigns the values: the injected cell."""
        lines = [f"{item.name} = {item.kind.code(values[item.name], self.spelling)}" for item in self.items]
        return "\n".join(["# Parameters", *lines])

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the whole, for forms, chat and HTTP."""
        properties = {}
        for item in self.items:
            shown = {} if item.required else {"default": item.kind.encode(item.default)}
            properties[item.name] = {**item.kind.schema(), **shown, **({"description": item.help} if item.help else {})}
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self.runbook,
            "type": "object",
            "properties": properties,
            "required": [item.name for item in self.items if item.required],
            "additionalProperties": False,
        }


def read_parameters(source: str, *, runbook: str) -> Parameters:
    """Read the cell's source with `ast` and `tokenize`; nothing of it is run.

    Allowed are imports, docstrings and assignments of literals, ``date(...)``, ``timedelta(...)`` and ``Secret(...)``. Raises
    `ParameterError` for anything else.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ParameterError(
            runbook, [f"the parameters cell is no Python: {str(error) or 'it is nested too deep'}"]
        ) from error
    comments = _comments(source)
    items: dict[str, Parameter] = {}
    spelling: dict[str, str] = {}
    faults = []
    for statement in tree.body:
        try:
            if (item := _parameter(statement, comments)) is not None:
                if item.name in items:
                    raise Fault(f"{item.name} is there twice")
                items[item.name] = item
        except (Fault, SREToolkitError) as fault:
            faults.append(f"line {statement.lineno}: {fault}")
        except (RecursionError, MemoryError):
            faults.append(f"line {statement.lineno}: it is nested too deep")
        for name in ast.walk(statement):
            _note_spelling(name, spelling)
    if faults:
        raise ParameterError(runbook, faults, hint="mend the cell tagged `parameters`")
    return Parameters(runbook, tuple(items.values()), spelling)


def _parameter(statement: ast.stmt, comments: Mapping[int, str]) -> Parameter | None:
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return None
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
            kind: Kind | None = kind_of(annotation)
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            kind = None
        case _:
            raise Fault(f"only imports and assignments may stand here, not: {ast.unparse(statement)[:60]}")
    text = comments.get(statement.end_lineno or statement.lineno, comments.get(statement.lineno, ""))
    help_text = text or comments.get(-statement.lineno, "")
    if value is None:
        assert kind is not None
        return Parameter(name, kind, required=True, help=help_text)
    default = _literal(value)
    kind = kind or kind_of_value(default)
    try:
        return Parameter(name, kind, kind.accept(default), help=help_text)
    except Fault as fault:
        raise Fault(f"the default of {name} does not fit its type: {_unseen(kind, fault)}") from None


def _unseen(kind: Kind, fault: Fault) -> str:
    """The fault without the value, when that may be a secret that somebody gave for its reference."""
    return f'it is no {kind}; a secret is given as a reference, such as "env:NAME"' if kind.secret else str(fault)


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        try:
            positional = [ast.literal_eval(argument) for argument in node.args]
            named = {word.arg: ast.literal_eval(word.value) for word in node.keywords if word.arg}
            if name in ("date", "timedelta"):
                return {"date": date, "timedelta": timedelta}[name](*positional, **named)
            if name == "Secret":
                return Secret(*positional)
            if name in ("HostName", "SourceName") and len(positional) == 1 and isinstance(positional[0], str):
                return positional[0]
        except (ValueError, TypeError, OverflowError):
            pass
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise Fault(f"{ast.unparse(node)[:60]} is no plain value") from None


def _note_spelling(node: ast.AST, spelling: dict[str, str]) -> None:
    if isinstance(node, ast.Attribute | ast.Name):
        name = node.attr if isinstance(node, ast.Attribute) else node.id
        if name in ("date", "timedelta", "Secret"):
            spelling.setdefault(name, ast.unparse(node))


def _comments(source: str) -> dict[int, str]:
    """Comment text by line number; a comment of its own above a line is found under that line's negative number."""
    found: dict[int, str] = {}
    above: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            number, text = token.start[0], token.string.lstrip("#").strip()
            if not token.line[: token.start[1]].strip():
                above.append(text)
            else:
                found[number] = text
        elif token.type not in (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT) and above:
            found[-token.start[0]] = " ".join(above)
            above = []
    return found


def _unknown(name: Any, known: list[str]) -> str:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        return f"{name!r} is no parameter name"
    near = get_close_matches(name, known, n=1)
    return f"{name}: there is no such parameter" + (f"; did you mean {near[0]!r}?" if near else "")
