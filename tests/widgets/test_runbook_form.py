"""A runbook as a form: what fits each type, what is refused while one types, plan before apply, and nothing secret kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets
import pytest

from sretoolkit.config import Config, state_folder
from sretoolkit.store import Store
from sretoolkit.store.dialects.sqlite import Sqlite
from sretoolkit.widgets import RunbookForm, RunView
from tests.plan.steps import Folder
from tests.widgets.watching import shown, until

Write = Callable[..., Path]
KINDS = """
from datetime import date, timedelta
from typing import Annotated, Literal
from sretoolkit.runbook import HostName, Range, Regex, Secret, SourceName
dry: bool = True  # look only
colour: Literal["red", "green"] = "green"  # of the flag
percent: Annotated[int, Range(1, 50, "%")] = 5  # share of the fleet
name: Annotated[str, Regex("[a-z]+")] = "shop"  # lower case
groups: list[str] = ["a", "b"]  # which
hosts: list[HostName] = ["localhost"]  # on which
wait: timedelta = timedelta(minutes=5)  # patience
until: date = date(2026, 12, 31)  # the last day
limit: int | None = None  # at most
host: HostName = "localhost"  # where
source: SourceName = "prod"  # whom to ask
token: Secret = Secret("env:SHOP_TOKEN")  # to log in
"""


@pytest.fixture
def kinds(write_notebook: Write, config: Config, monkeypatch: pytest.MonkeyPatch) -> RunbookForm:
    """A form with one field of each kind."""
    monkeypatch.setenv("SHOP_TOKEN", "hunter2-hunter2")
    path = write_notebook((KINDS, ["parameters"]), "print(dry)", title="<b>Kinds</b>", purpose="all", changes=False)
    whole = Config.of(
        hosts={"web1": {"connection": "local"}}, sources={"prod": {"kind": "prometheus", "url": "http://127.0.0.1:9"}},
        store={"url": config["store.url"]}, journal={"keys": config["journal.keys"]},
        records={"folder": config["records.folder"]},
    )  # fmt: skip
    return RunbookForm(str(path), config=whole, live=False)


def test_each_type_has_the_control_that_fits(kinds: RunbookForm) -> None:
    """A box to tick, a list, a slider, tags, names to pick; text for the rest, with the default in it."""
    controls = {name: type(field.control).__name__ for name, field in kinds.fields.items()}
    values = {name: field.control.value for name, field in kinds.fields.items()}

    assert {
        "dry": "Checkbox", "colour": "Dropdown", "percent": "IntSlider", "name": "Text", "groups": "TagsInput",
        "hosts": "TagsInput", "wait": "Text", "until": "DatePicker", "limit": "Text",
        "host": "Combobox", "source": "Combobox", "token": "Combobox",
    } == controls  # fmt: skip
    assert ("5m", "none", 5, ["a", "b"]) == (values["wait"], values["limit"], values["percent"], values["groups"])
    assert "2026-12-31" == str(values["until"])
    assert ("localhost", "web1") == kinds.fields["host"].control.options
    assert "env:SHOP_TOKEN" in kinds.fields["token"].control.options
    assert "&lt;b&gt;Kinds" in kinds.children[0].value
    assert "only reads" in kinds.children[0].value


def test_known_names_are_picked_into_a_list(kinds: RunbookForm) -> None:
    """Hosts of the configuration are offered beside the tags; a list of free texts offers none."""
    hosts, groups = kinds.fields["hosts"], kinds.fields["groups"]
    hosts.more.value = "web1"

    assert ["localhost", "web1"] == hosts.control.value
    assert ("a known name …", "none") == (hosts.more.value, groups.more.layout.display)
    assert "hosts: type, then Enter" == hosts.control.placeholder, "it is the name that a screen reader says"


@pytest.mark.parametrize(
    ("name", "typed", "says"),
    [
        ("name", "Shop", "does not match"),
        ("wait", "soon", "soon"),
        ("limit", "1.5", "fits none of"),
        ("name", "<b>", "&lt;b&gt;"),
    ],
)
def test_what_is_wrong_is_said_beside_the_field(kinds: RunbookForm, name: str, typed: str, says: str) -> None:
    """While one types; nothing can be started until it is mended."""
    kinds.fields[name].control.value = typed
    wrong = (kinds.plan.disabled, says in kinds.fields[name].note.value)
    kinds.fields[name].control.value = {"name": "shop", "wait": "90s", "limit": "3"}[name]

    assert (True, True) == wrong
    assert (False, False) == (kinds.plan.disabled, 'role="alert"' in kinds.fields[name].note.value)


def test_a_secret_in_place_of_its_reference_is_taken_out(kinds: RunbookForm) -> None:
    """It is not shown, not kept, and said in a sentence that does not hold it."""
    field = kinds.fields["token"]
    field.control.value = "hunter2-hunter2"

    assert "" == field.control.value
    assert "hunter2" not in field.note.value
    assert "not a reference" in field.note.value


def test_what_was_given_is_there_again_but_no_secret(kinds: RunbookForm, store: Store) -> None:
    """The next form begins with the last values and the last run; the file holds no reference of a secret."""
    kinds.fields["percent"].control.value = 7
    kinds.plan.click()
    kinds.join(60)
    until(kinds.view, "completed")
    again = RunbookForm(str(kinds.runbook.path), config=kinds._config, live=False)

    (kept,) = (state_folder() / "forms").iterdir()
    assert 7 == again.fields["percent"].control.value
    assert "token" not in json.loads(kept.read_text())["values"]
    assert kinds.view is not None
    assert again.view is not None
    assert kinds.view.run == again.view.run
    assert "True" in again.view.cells.children[-1].value


def test_a_form_in_a_record_is_a_table(kinds: RunbookForm) -> None:
    """No empty box: the purpose, and every parameter with its type and default."""
    data, _ = kinds._repr_mimebundle_()
    assert "widget" not in str(list(data))
    assert "SHOP_TOKEN" in data["text/html"]


def test_nothing_is_applied_that_was_not_planned(changing: str, config: Config, world: Folder) -> None:
    """Apply wakes up with the plan of exactly these values, and sleeps again when one is changed."""
    form = RunbookForm(changing, config=config, live=False)
    before = (form.plan.disabled, form.apply.disabled)
    form.fields["folder"].control.value = str(world.path)
    form.plan.click()
    form.join(60)
    view = until(form.view, "planned")
    planned = form.apply.disabled
    form.fields["policy"].control.value = "hold"
    other = form.apply.disabled
    form.fields["policy"].control.value = "undo"

    assert ((True, True), False, True, False) == (before, planned, other, form.apply.disabled)
    assert "write new into a" in view.plans.value
    assert f"file:{world.path}/a" in form.touches.value
    assert ["old", "old", "old"] == [world[name] for name in "abc"]


def test_a_plan_is_applied_and_taken_back(changing: str, config: Config, world: Folder) -> None:
    """Plan, Apply, Undo, Run this plan: four clicks there and back, each run on record."""
    form = _planned(changing, config, world)
    form.apply.click()
    form.join(60)
    view = until(form.view, "completed")
    done = [world[name] for name in "abc"]
    view.buttons["undo"].click()
    view.join(60)
    (undo,) = view.aside.children
    still = [world[name] for name in "abc"]
    offered = shown(view)
    undo.run.click()
    undo.join(60)

    assert (["new"] * 3, ["new"] * 3, ["old"] * 3) == (done, still, [world[name] for name in "abc"])
    assert ("undo" in offered, "undo" in shown(view)) == (True, False)
    assert "taken back by run" in view.head.value
    assert "completed" == until(undo.view, "completed").seen.run.state  # type: ignore[union-attr]


def test_where_the_store_is_shared_a_role_is_needed(
    changing: str, config: Config, world: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the command line: without it no run is begun, none is taken back, and it is said who may."""
    form = _planned(changing, config, world)
    form.apply.click()
    form.join(60)
    applied = until(form.view, "completed")
    name = form.runbook.name
    bound = Config.of(
        access={name: {"viewer": ["*"]}}, store={"url": config["store.url"]}, journal={"keys": config["journal.keys"]}
    )
    monkeypatch.setattr(Sqlite, "shared", True)
    other = RunbookForm(changing, config=bound, live=False)
    other.fields["folder"].control.value = str(world.path)
    other.plan.click()
    other.join(60)
    seen = RunView(applied.run, config=bound, live=False)
    seen.buttons["undo"].click()
    seen.join(60)

    needs = f"is viewer for {name}, and this takes the role operator"
    assert (True, True, None) == (needs in other.said.value, needs in seen.said.value, other.view)
    assert (["new"] * 3, ()) == ([world[each] for each in "abc"], seen.aside.children)


def test_a_plan_that_the_world_has_overtaken_is_refused(changing: str, config: Config, world: Folder) -> None:
    """Somebody changed a file after the plan was read: nothing is done, and it is said."""
    form = _planned(changing, config, world)
    path = Path(changing)
    (world.path / "d").write_text("old")
    source = path.read_text()
    path.write_text(source.replace("for name in 'abc'", "for name in 'abcd'"))
    form.apply.click()
    form.join(60)
    refused = form.said.value
    path.write_text(source)

    assert "was changed since" in refused
    assert ["old"] * 4 == [world[name] for name in "abcd"]


def test_another_plan_than_the_one_that_was_read_is_refused(
    write_notebook: Write, config: Config, world: Folder
) -> None:
    """The same notebook plans something else now: refused before its first step, with what to do."""
    which = "[world.step(name) for name in (world.path / 'which').read_text()]"
    cell = f"world = Folder(Path(folder))\nplan = Plan('change', {which})"
    first = "from pathlib import Path\nfrom sretoolkit.plan import Plan\nfrom tests.plan.steps import Folder"
    path = write_notebook(first, ("folder: str", ["parameters"]), cell, "plan.run()")
    (world.path / "which").write_text("ab")
    form = _planned(str(path), config, world)
    (world.path / "which").write_text("abc")
    form.apply.click()
    form.join(60)
    view = until(form.view, "refused")

    assert "the world has changed since" in view.head.value
    assert ["old", "old"] == [world[name] for name in "ab"]


def _planned(path: str, config: Config, world: Folder) -> RunbookForm:
    form = RunbookForm(path, config=config, live=False)
    form.fields["folder"].control.value = str(world.path)
    form.plan.click()
    form.join(60)
    until(form.view, "planned")
    return form


def test_the_controls_can_be_reached_by_name(kinds: RunbookForm) -> None:
    """Every control has a label, and every button a sentence of what it does."""
    assert list(kinds.fields) == [field.control.description for field in kinds.fields.values()]
    assert [] == [each.description for each in (kinds.plan, kinds.apply) if not each.tooltip]
    assert isinstance(kinds.said, widgets.HTML)
