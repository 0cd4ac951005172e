"""What the launcher asks the Jupyter server, and jobs of its scheduler: a real server, asked over its own HTTP."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.journal import Run, find_runs
from sretoolkit.store import Store
from tests.conftest import REPOSITORY
from tests.ui.lab import Lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """`sretoolkit lab` with folders of its own."""
    server = Lab(tmp_path_factory.mktemp("lab"))
    yield server
    server.close()


@pytest.fixture
def runs(lab: Lab) -> Iterator[Store]:
    """The store of whoever works there."""
    with Store(f"sqlite:///{lab.home}/state/sretoolkit/store.db") as opened:
        yield opened


def refused(lab: Lab, path: str, body: Any = None, *, token: str | None = None) -> tuple[int, dict[str, Any]]:
    """The status and content of an answer that is no good one."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        lab.ask(path, body, token=token)
    with caught.value as error:
        said = error.read()
        return error.code, json.loads(said) if said.startswith(b"{") else {}


def test_the_cards_are_the_runbooks(lab: Lab, config: Config) -> None:
    """Each with what it is for and its risk, as its own metadata say; nothing of it is written down a second time."""
    found = {each["name"]: each for each in lab.ask("sretoolkit/runbooks")["runbooks"]}

    assert {path.stem for path in (REPOSITORY / "runbooks").glob("*.ipynb")} <= set(found)
    assert ("TCP congestion control", True) == (found["tcp_congestion"]["title"], found["tcp_congestion"]["changes"])
    assert not found["pid1_health"]["changes"]


@pytest.mark.parametrize("path", ["runbooks", "record", "journal", "open", "pass-on"])
def test_who_is_not_logged_in_gets_nothing(lab: Lab, path: str) -> None:
    """Neither cards nor records, and nothing is made or written."""
    code, _ = refused(lab, f"sretoolkit/{path}", {} if path in ("open", "pass-on") else None, token="wrong")
    assert code in (302, 403)


def test_a_card_opens_a_form_and_a_copy_leaves_the_original_clean(lab: Lab) -> None:
    """Both are made below the server's folder; the form is kept when it is opened again."""
    form = lab.ask("sretoolkit/open", {"runbook": "tcp_congestion", "as": "form"})["path"]
    (lab.work / form).write_text((lab.work / form).read_text().replace("RunbookForm('", "RunbookForm( '"))
    again = lab.ask("sretoolkit/open", {"runbook": "tcp_congestion", "as": "form"})["path"]
    copy = lab.ask("sretoolkit/open", {"runbook": "tcp_congestion", "as": "copy"})["path"]

    assert ("desk/tcp_congestion.ipynb", form) == (form, again)
    assert "RunbookForm( 'tcp_congestion')" in (lab.work / form).read_text()
    original = json.loads((REPOSITORY / "runbooks/tcp_congestion.ipynb").read_text())
    assert original["cells"] == json.loads((lab.work / copy).read_text())["cells"]


def test_what_an_ended_kernel_left_behind_is_emptied(lab: Lab) -> None:
    """Opened again, a form's notebook has no output that could only say that its panel is gone; what was written in it stays."""
    path = lab.ask("sretoolkit/open", {"runbook": "pid1_health", "as": "form"})["path"]
    file = lab.work / path
    content = json.loads(file.read_text())
    content["cells"][0] |= {"source": "mine", "outputs": [{"output_type": "stream", "name": "stdout", "text": "old"}]}
    file.write_text(json.dumps(content))
    lab.ask("sretoolkit/open", {"runbook": "pid1_health", "as": "form"})
    (cell,) = json.loads(file.read_text())["cells"]
    assert ("mine", []) == ("".join(cell["source"]), cell["outputs"])


def test_an_unknown_runbook_is_answered_with_the_nearest(lab: Lab) -> None:
    """As everywhere: what, and what to do next."""
    code, said = refused(lab, "sretoolkit/open", {"runbook": "tcp_congestoin", "as": "form"})
    assert (400, "did you mean 'tcp_congestion'?") == (code, said["hint"])


def test_a_run_is_not_passed_to_nobody(lab: Lab) -> None:
    """Refused in words."""
    code, said = refused(lab, "sretoolkit/pass-on", {"run": "last", "to": " "})
    assert (400, "write who is on call next") == (code, said["hint"])


def job(lab: Lab, name: str, cells: list[Any], **parameters: str) -> dict[str, Any]:
    """A job of Lab's scheduler when it has ended."""
    made = [
        {"cell_type": "code", "id": f"c{at}", "metadata": {"tags": ["parameters"] if at == 0 else []}, "outputs": [],
         "execution_count": None, "source": source}
        for at, source in enumerate(cells)
    ]  # fmt: skip
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    content = {"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": made}
    (lab.work / f"{name}.ipynb").write_text(json.dumps(content))
    order = {
        "name": name, "input_uri": f"{name}.ipynb", "runtime_environment_name": "python3",
        "output_formats": ["ipynb", "html"], "parameters": parameters,
    }  # fmt: skip
    number = lab.ask("scheduler/jobs", order)["job_id"]
    state: dict[str, Any] = {}

    def ended() -> bool:
        state.update(lab.ask(f"scheduler/jobs/{number}"))
        return state["status"] in ("COMPLETED", "FAILED")  # STOPPED is what it is before it begins, too

    assert poll(ended, timeout=90, interval=0.5), state
    return state


def newest(runs: Store, runbook: str) -> Run | None:
    """The newest run of a notebook."""
    return next(iter(find_runs(runs, runbook=runbook)), None)


TYPED = "from datetime import timedelta\ncount: int = 1\ndry: bool = True\nwait: timedelta = timedelta(seconds=1)"


def test_a_job_is_a_run_with_typed_parameters(lab: Lab, runs: Store) -> None:
    """The scheduler knows texts only; the notebook gets a number, False, and a duration, and the run is on record."""
    ended = job(lab, "typed", [TYPED, "print(count + 1, dry is False, wait)"], count="41", dry="false", wait="5m")
    run = newest(runs, "typed")

    assert run is not None
    assert ("COMPLETED", "completed", "jupyter-scheduler") == (ended["status"], run.state, run.origin)
    assert {"count": 41, "dry": False, "wait": "5m"} == run.parameters
    assert "42 True 0:05:00" in Path(str(run.notebook)).read_text()


def test_a_job_that_fails_says_so(lab: Lab, runs: Store) -> None:
    """The job is failed, with the run's own reason; the record of how far it came is there."""
    ended = job(lab, "broken", ["x: int = 1", "1 / 0", "print('never')"])
    run = newest(runs, "broken")

    assert run is not None
    assert ("FAILED", "failed") == (ended["status"], run.state)
    assert "ZeroDivisionError" in ended["status_message"]
    assert run.id in ended["status_message"]


def test_wrong_parameters_fail_the_job_before_a_kernel_starts(lab: Lab, runs: Store) -> None:
    """Every fault at once, and no run is opened: nothing was run."""
    ended = job(lab, "wrong", ["count: int = 1", "print(count)"], count="many", cuont="1")

    assert "FAILED" == ended["status"]
    assert "'many' is no int" in ended["status_message"]
    assert "did you mean 'count'?" in ended["status_message"]
    assert newest(runs, "wrong") is None
