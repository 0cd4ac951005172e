"""Parameters: read without running anything, checked all at once, rendered so that they come back equal."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from sretoolkit.errors import ParameterError, RunbookError
from sretoolkit.runbook.kinds import Fault, Kind
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.runbook.parameters import Parameters, read_parameters
from sretoolkit.secrets import Secret

EVERY = """
from datetime import timedelta
from typing import Annotated, Literal, Optional
from sretoolkit.runbook import HostName, Range, Regex, Secret, SourceName
count: int = 3
share: float = 0.5
dry_run: bool = True
version: str = "1.10"
names: list[str] = ["a", "b"]
limits: dict[str, int] = {"a": 1}
by_number: dict[int, list[float]] = {1: [0.5]}
nothing: None = None
mode: Literal["fast", "safe", 3, True, None] = "safe"
maybe: int | None = None
maybe_too: Optional[str] = "x"
percent: Annotated[int, Range(1, 100, unit="%")] = 10
word: Annotated[str, Regex("[a-z]+")] = "abc"
wait: timedelta = timedelta(minutes=5)
token: Secret = Secret("env:TOKEN")
source: SourceName = "prod"
host: HostName = HostName("localhost")
quoted: "int | None" = 5
free = {"any": [1, None, True, 0.5, "x"]}
untyped = 7
"""


def _read(source: str) -> Parameters:
    return read_parameters(source, runbook="book")


def _faults(source: str, given_: dict[str, Any] | None = None, texts: tuple[str, ...] = ()) -> tuple[str, ...]:
    with pytest.raises(ParameterError) as caught:
        _read(source).check(given_ or {}, texts=texts)
    assert 2 == caught.value.exit_code
    return caught.value.faults


def test_every_type_is_read_with_its_default() -> None:
    """DESIGN "How a run works": the own reader knows int float bool str list dict None Literal | Optional Annotated and ours."""
    values = _read(EVERY).check({})
    expected = {
        "count": 3, "share": 0.5, "dry_run": True, "version": "1.10", "names": ["a", "b"], "limits": {"a": 1},
        "by_number": {1: [0.5]}, "nothing": None, "mode": "safe", "maybe": None, "maybe_too": "x", "percent": 10,
        "word": "abc", "wait": timedelta(minutes=5), "token": Secret("env:TOKEN"), "source": "prod", "host": "localhost",
        "quoted": 5, "free": {"any": [1, None, True, 0.5, "x"]}, "untyped": 7,
    }  # fmt: skip
    assert expected == values


PROMQL = 'rate(http_requests_total{code=~"5..", job!="a"}[5m]) == 0'
TEXTS: list[tuple[str, str, Any]] = [
    ("x: str", "1.10", "1.10"),
    ("x: str", "true", "true"),
    ("x: str", "", ""),
    ("x: str", "a=b==c", "a=b==c"),
    ("x: bool", "false", False),
    ("x: bool", "False", False),
    ("x: bool", "0", False),
    ("x: bool", "yes", True),
    ("x: int", "-5", -5),
    ("x: float", "1", 1.0),
    ("x: float", "1e3", 1000.0),
    ("x: None", "null", None),
    ("x: list[int]", "1, 2", [1, 2]),
    ("x: list[int]", "[1, 2]", [1, 2]),
    ("x: list[str]", "", []),
    ("x: list", '["a", 1]', ["a", 1]),
    ("x: dict[str, int]", '{"a": 1}', {"a": 1}),
    ("x: dict[int, str]", '{"1": "a"}', {1: "a"}),
    ("x: timedelta", "1h30m", timedelta(minutes=90)),
    ("x: date", "2026-12-25", date(2026, 12, 25)),
    ("x: date | None", "none", None),
    ("x: Secret", "file:/run/x", Secret("file:/run/x")),
    ("x: int | None", "none", None),
    ("x: list | None", "none", None),  # and not the list of this word
    ("x: int | None", "5", 5),
    ("x: Optional[str]", "5", "5"),
    ("x: str | int", "5", 5),
    ('x: Literal["a", 3]', "3", 3),
    ("x: Literal[True, None]", "None", None),
    ("x: HostName", "ssh://u@h:22", "ssh://u@h:22"),
    ("x: str", PROMQL, PROMQL),
    ("x: Annotated[timedelta, Range(1, 60)]", "1m", timedelta(minutes=1)),
]


@pytest.mark.parametrize(("declared", "text", "value"), TEXTS)
def test_a_text_is_parsed_by_the_declared_type(declared: str, text: str, value: Any) -> None:
    """DESIGN trap: `version 1.10` stays a text, `dry_run false` is False; nothing is guessed."""
    found = _read(declared).check({"x": text}, texts=["x"])["x"]
    assert (value, type(value)) == (found, type(found))


REFUSED: list[tuple[str, str, str]] = [
    ("x: int", "1.0", "is no int"),
    ("x: int", "", "is no int"),
    ("x: int", "9" * 5000, "is no int"),
    ("x: bool", "maybe", "neither true nor false"),
    ("x: bool", "2", "neither true nor false"),
    ("x: float", "nan", "no number that can be kept"),
    ("x: float", "-inf", "no number that can be kept"),
    ("x: list[float]", "[NaN]", "no number that can be kept"),
    ("x: list[int]", "[1, true]", "is a bool, not int"),
    ("x: dict", "[1]", "is a list, not dict"),
    ("x: dict", "[" * 100_000, "is no JSON"),
    ("x: list", "[" * 200 + "]" * 200, "nested more than"),
    ("x: timedelta", "5", "is not a duration"),
    ("x: date", "25.12.2026", "is no date"),
    ("x: date", "2026-02-30", "is no date"),
    ("x: date", "20261225", "is no date"),
    ("x: timedelta", "99999999999w", "too long"),
    ("x: Literal['a']", "b", "is not one of 'a'"),
    ("x: None", "0", "is not none"),
    ("x: Annotated[int, Range(1, 5)]", "6", "is not 1 to 5"),
    ("x: Annotated[int | None, Range(1, 5)]", "6", "is not 1 to 5"),
    ("x: Optional[Annotated[int, Range(low=1)]]", "0", "is not 1 to"),
    ("x: Annotated[Annotated[int, Range(1)], Range(high=9)]", "0", "is not 1 to"),
    ("x: Annotated[str, Regex('[a-z]+')]", "abc1", "does not match"),
    ("x: Annotated[str, Regex('[a-z]+')]", "abc\n", "does not match"),
    ("x: list[Annotated[int, Range(1, 5)]]", "1,9", "is not 1 to 5"),
    ("x: dict[int, str]", '{"a": "b"}', "is no int"),
]


@pytest.mark.parametrize(("declared", "text", "why"), REFUSED)
def test_a_text_that_does_not_fit_is_refused(declared: str, text: str, why: str) -> None:
    """DESIGN trap: a wrong type or a value out of its range is refused before a kernel starts, exit code 2."""
    faults = _faults(declared, {"x": text}, texts=("x",))
    assert (1, True) == (len(faults), why in faults[0]), faults


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("x: int", True),
        ("x: int", 1.0),
        ("x: int", "1"),
        ("x: int", 1 << 2000),
        ("x: float", "1"),
        ("x: float", 10**400),
        ("x: bool", 1),
        ("x: str", 5),
        ("x: str", None),
        ("x: list[int]", [1, "2"]),
        ("x: list[int]", "12"),
        ("x: timedelta", 5),
        ("x: timedelta", timedelta(seconds=-1)),
        ("x: Secret", "hunter2"),
        ("x: Secret", 5),
        ("x: Literal[1]", True),
        ("x: Literal[1]", 1.0),
        ("x = None", {1, 2}),
        ("x = None", b"x"),
        ("x = None", {1: 2}),
        ("x = None", float("nan")),
        ("x: dict", {"a": object()}),
    ],
)
def test_data_is_not_converted_by_guessing(declared: str, value: Any) -> None:
    """From YAML, JSON or Python a value has its type, or is refused; also what the journal could not keep."""
    assert 1 == len(_faults(declared, {"x": value}))


def test_a_secret_in_clear_text_is_not_repeated() -> None:
    """Somebody gives the value for the reference: neither message shows it, also not of a union."""
    for declared in (
        "x: Secret",
        "x: Secret | None",
        "x: list[Secret]",
        "x: dict[str, Secret]",
        "x: Annotated[Secret, 'the token']",
    ):
        for texts in ((), ("x",)):
            assert "hunter2" not in str(_faults(declared, {"x": "hunter2"}, texts=texts))
    with pytest.raises(ParameterError) as caught:
        _read("x = Secret('hunter2')")
    assert "hunter2" not in str(caught.value)


def test_all_faults_come_at_once() -> None:
    """DESIGN trap: unknown, missing, wrong and crafted names are refused together, each in a sentence."""
    source = "version: str  # which one\ncount: int = 1\n"
    expected = (
        "versoin: there is no such parameter; did you mean 'version'?",
        "'x=1; import os' is no parameter name",
        "'class' is no parameter name",
        "5 is no parameter name",
        "'' is no parameter name",
        "version: is required (str: which one)",
        "count: 'x' is a str, not int",
    )
    given_: dict[Any, Any] = {"versoin": "1", "x=1; import os": 1, "class": 1, 5: 1, "": 1, "count": "x"}
    assert expected == _faults(source, given_)


HOSTILE = [
    "x = open('ran', 'w')",
    "x = [i for i in range(9)]",
    "x = __import__('os').system('touch ran')",
    "x = (y := 5)",
    "(x := 5)",
    "x = f'{1}'",
    "x = y",
    "x = 1 if True else 2",
    "x = lambda: 1",
    "x: int = timedelta(seconds=open('ran', 'w'))",
    "x: open('ran', 'w') = 1",
    "x: Annotated[int, Range(open('ran', 'w'))] = 1",
    "x: Literal[open('ran', 'w')] = 1",
    "import os; os.system('touch ran')",
    "x = y = 1",
    "x, y = 1, 2",
    "x += 1",
    "del x",
    "if True:\n    x = 1",
    "def x(): pass",
    "class x: pass",
    "while True: pass",
    "x[0] = 1",
    "x.y = 1",
    "@decorator\ndef f(): pass",
    "x = *y,",
    "!touch ran",
    "%run x",
    "x = 1 +",
    "x = " + "-" * 100_000 + "1",
    "x = " + "(" * 5000 + ")" * 5000,
    "x = 1" + "+1" * 20_000,
    "x = " + "a." * 5000 + "b",
    "x = " + "[" * 80 + "]" * 80,
    "x = 1\0",
    "x = '\udcff'",
    "x = \\\n",
    "x = 1e999",
    "x = {1: 2}",
    "x = {1, 2}",
    "x = b'1'",
    "x = ...",
    "x = 1j",
    "x = timedelta(days=10**10)",
    "x = timedelta(10**400)",
    "x = 0x" + "f" * 5000,
    "x = Secret()",
    "x = Secret('env:A', 'b')",
    "x: int = '1'",
    "x: Annotated[int, Range(1, 5)] = 9",
    "x: Annotated[str, Range(1, 5)] = 'a'",
    "x: Annotated[list[int], Range(1)] = [1]",
    "x: Annotated[int, Range('a')] = 1",
    "x: Annotated[int, Field(ge=1)] = 1",
    "x: Annotated[int, POSITIVE] = 1",
    "x: Annotated[str, Regex('(')] = ''",
    "x: Annotated[int] = 1",
    "x: Literal[()] = 1",
    "x: Literal[1.5] = 1.5",
    "x: Literal[[1]] = 1",
    "x: Optional[int, str] = 1",
    "x: list[int, str] = []",
    "x: dict[str] = {}",
    "x: dict[list[int], str] = {}",
    "x: 'int[' = 1",
    "x: '" + "(" * 500 + "' = 1",
    "x: set[int] = {1}",
    "x: Unknown = 1",
    "x: int = 1\nx = 'twice'",
]


@pytest.mark.parametrize("source", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_cell_is_refused_and_nothing_of_it_runs(source: str, own_home: Path) -> None:
    """DESIGN "Fault: a parameter cell with hostile content": one kind of error, exit code 2, no file is touched."""
    with pytest.raises(ParameterError) as caught:
        _read(source)
    assert (2, True, False) == (caught.value.exit_code, bool(caught.value.faults[0]), (own_home / "ran").exists())


@given(st.text(max_size=60))
def test_no_cell_whatever_crashes_the_reader(source: str) -> None:
    """Any text is a parameters cell or a ParameterError."""
    try:
        _read(source)
    except ParameterError as error:
        assert error.faults  # noqa: PT017


def test_what_may_stand_beside_assignments() -> None:
    """Imports and texts are no parameters; an empty cell has none."""
    assert () == _read('"""What this is."""\nimport os\nfrom datetime import timedelta as td\n').items
    assert () == _read("").items


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("x: int = 1  # on the line", "on the line"),
        ("# above\nx: int = 1", "above"),
        ("# two\n# lines\nx: int = 1", "two lines"),
        ("# above\nx: int = 1  # on the line", "on the line"),
        ("x: list[int] = [  # begins\n  1,\n]  # ends", "ends"),
        ("x: str = 'a # b'", ""),
        ("x: str = 'a # b'  # c # d", "c # d"),
        ("x: str = 'a\\u2028b'  # help", "help"),
        ("y = '\u2028\x0c'\n# mine\nx: int = 1", "mine"),
        ("# of y\ny = 1\nx: int = 1", ""),
        ("x: str = '''\n# no help\n'''", ""),
    ],
)
def test_help_comes_from_comments(source: str, text: str) -> None:
    """A comment on the same line, or of its own above; a `#` in a text is none."""
    assert text == next(item.help for item in _read(source).items if item.name == "x")


def test_a_required_parameter_has_no_default() -> None:
    """An annotation alone is required; a default of None is not."""
    items = _read("a: int\nb: int | None = None\n").items
    assert [("a", True), ("b", False)] == [(item.name, item.required) for item in items]


def test_a_default_is_not_shared_between_runs() -> None:
    """What one run does to a list that it was given is no other run's default."""
    parameters = _read("x: list[int] = [1]")
    parameters.check({})["x"].append(2)
    assert [1] == parameters.check({})["x"]


def test_the_schema_is_a_schema_and_takes_what_the_model_takes() -> None:
    """The same model yields JSON Schema (2020-12): it is valid, the defaults fit it, what is refused does not."""
    parameters = _read(EVERY + "need: int\n")
    schema = json.loads(json.dumps(parameters.schema()))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    good = parameters.encode(parameters.check({"need": 1}))
    assert [] == [error.message for error in validator.iter_errors(json.loads(json.dumps(good)))]
    for name, value in {
        "count": "x",
        "percent": 101,
        "word": "A",
        "mode": "slow",
        "maybe": "x",
        "names": [1],
        "other": 1,
    }.items():
        assert not validator.is_valid({**good, name: value}), name
    assert not validator.is_valid({"count": 1}), "need is required"
    assert "%" == schema["properties"]["percent"]["x-unit"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
DURATIONS = st.timedeltas(min_value=timedelta(), max_value=timedelta(days=20_000))
KINDS: list[tuple[str, st.SearchStrategy[Any]]] = [
    ("int", st.integers(-(2**200), 2**200)),
    ("float", st.floats(allow_nan=False, allow_infinity=False)),
    ("bool", st.booleans()),
    ("str", st.text()),
    ("list", st.lists(JSON, max_size=4)),
    ("dict", st.dictionaries(st.text(), JSON, max_size=4)),
    ("None", st.none()),
    ("date", st.dates()),
    ("list[date]", st.lists(st.dates(), max_size=3)),
    ("timedelta", DURATIONS),
    ("list[timedelta]", st.lists(DURATIONS, max_size=4)),
    ("int | None", st.none() | st.integers(-9, 9)),
    ("dict[int, str]", st.dictionaries(st.integers(), st.text(), max_size=4)),
    ("dict[timedelta, bool]", st.dictionaries(DURATIONS, st.booleans(), max_size=3)),
    ("Secret", st.text(min_size=1).map(lambda text: Secret(f"env:{text}"))),
    ("HostName", st.text()),
]


@given(st.data())
def test_values_come_back_equal_from_code_and_from_the_journal(data: st.DataObject) -> None:
    """DESIGN trap: the injected cell gives exactly the checked values, and so does what the journal keeps of them."""
    declared, strategy = data.draw(st.sampled_from(KINDS))
    parameters = _read(f"x: {declared}")
    values = parameters.check({"x": data.draw(strategy)})
    names: dict[str, Any] = {"date": date, "timedelta": timedelta, "Secret": Secret}
    exec(parameters.code(values), names)
    assert (values["x"], type(values["x"])) == (names["x"], type(names["x"]))
    kept = json.loads(json.dumps(parameters.encode(values), allow_nan=False))
    assert values == parameters.check(kept)


def test_code_spells_names_as_the_notebook_does() -> None:
    """The injected cell comes after the imports of the parameters cell, and uses their names."""
    source = "import datetime\nimport sretoolkit\nw: datetime.timedelta = datetime.timedelta(1)\ns: sretoolkit.Secret\n"
    source += "d: datetime.date = datetime.date(2026, 12, 25)\n"
    parameters = _read(source)
    code = parameters.code(parameters.check({"s": "env:X", "w": "1s"}))
    assert (
        "# Parameters\nw = datetime.timedelta(seconds=1.0)\ns = sretoolkit.Secret('env:X')\nd = datetime.date(2026, 12, 25)"
        == code
    )


@given(st.text())
def test_no_value_becomes_code(text: str) -> None:
    """DESIGN trap: whatever stands in a text, the injected cell is assignments of texts."""
    parameters = _read("x: str\ny: list[str]\nz: dict")
    code = parameters.code({"x": text, "y": [text], "z": {text: text}})
    assert ["x", "y", "z"] == [item.name for item in _read(code).items]


def test_a_kind_says_what_it_is() -> None:
    """What `sretoolkit show` prints."""
    shown = {item.name: str(item.kind) for item in _read(EVERY).items}
    assert ("int (1 to 100 %)", "str (like [a-z]+)", "int | None", "dict[int, list[float]]") == tuple(
        shown[name] for name in ("percent", "word", "maybe", "by_number")
    )
    with pytest.raises(Fault):
        Kind("int").accept("5")


NOTEBOOKS = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"nbformat": 4}',
    b'{"nbformat": 3, "cells": []}',
    b'{"nbformat": 4, "cells": {}}',
    b'{"nbformat": 4, "cells": [1]}',
    b'{"nbformat": 4, "cells": [{"cell_type": "code"}]}',
    b'{"nbformat": 4, "cells": [{"cell_type": "x", "source": ""}]}',
    b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": [1]}]}',
    b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": null}]}',
    b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": "", "metadata": []}]}',
    b'{"nbformat": 4, "cells": [], "metadata": null}',
]


@pytest.mark.parametrize("content", NOTEBOOKS, ids=range(len(NOTEBOOKS)))
def test_what_is_no_notebook_is_said(own_home: Path, content: bytes) -> None:
    """DESIGN "Fault: a notebook that is not valid JSON": one kind of error, exit code 2, with what to do."""
    path = own_home / "book.ipynb"
    path.write_bytes(content)
    with pytest.raises(RunbookError) as caught:
        Runbook.read(path)
    assert (2, True) == (caught.value.exit_code, bool(caught.value.hint))


def test_the_hash_is_of_sources_and_tags_alone(own_home: Path) -> None:
    """DESIGN "plan.hash": sources only, no outputs or metadata; one text or a list of lines is the same source."""

    def made(source: Any, **changes: Any) -> str:
        cell = {"cell_type": "code", "source": source, "metadata": {"tags": []}, "outputs": [], **changes}
        path = own_home / "book.ipynb"
        path.write_text(json.dumps({"nbformat": 4, "metadata": {}, "cells": [cell]}))
        return Runbook.read(path).hash

    same = made("a = 1\nb = 2")
    assert [same] * 3 == [
        made(["a = 1\n", "b = 2"]),
        made("a = 1\nb = 2", outputs=[{"x": 1}], execution_count=7),
        made("a = 1\nb = 2", id="x"),
    ]
    assert same not in (
        made("a = 1\nb = 3"),
        made("a = 1\nb = 2", cell_type="raw"),
        made("a = 1\nb = 2", metadata={"tags": ["after-apply"]}),
    )
