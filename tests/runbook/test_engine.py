"""Runs: through the real command line, papermill and a real kernel."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.runbook.desk import CHANGING, Desk

Write = Callable[..., Path]


def test_plan_mode_changes_nothing_and_skips_what_comes_after(desk: Desk, write_notebook: Write) -> None:
    """DESIGN "Modes": plan is the default; reads are real, plan.run() is planned, cells tagged after-apply are skipped."""
    done = desk.run("run", str(write_notebook(*CHANGING)), "-p", f"folder={desk.world.path}")

    assert 0 == done.returncode, done.stdout
    assert ("planned", ["old"] * 3) == (desk.last.state, desk.values)
    expected = ["completed"] * 5 + ["skipped", "completed"]
    assert expected == desk.statuses(desk.last)


def test_the_head_of_a_record_names_what_is_worst_first(desk: Desk, write_notebook: Write) -> None:
    """A report's findings are counted by severity, as grave as they are and not as their names are spelled."""
    severities = ["low", "info", "high", "medium", "critical"]
    findings = f"[Finding(severity=each, subject='s', summary=each) for each in {severities}]"
    path = write_notebook(f"from sretoolkit.report import Finding, Report\nReport('look', {findings})", changes=False)
    assert 0 == desk.run("run", str(path)).returncode
    page = Path(str(desk.last.html)).read_text()
    assert "</b> · critical 1 · high 1 · medium 1 · low 1 · info 1</p>" in page


def test_apply_changes_and_the_record_is_bound_by_hashes(desk: Desk, write_notebook: Write) -> None:
    """DESIGN "How a run works": executed notebook, page and journal are bound by hash; the journal is signed to its end."""
    done = desk.apply(write_notebook(*CHANGING))

    assert 0 == done.returncode, done.stdout
    assert ("completed", ["new"] * 3) == (desk.last.state, desk.values)
    assert "whole" == desk.journal_state(desk.last.id)
    assert ["unchanged", "unchanged"] == [
        file["state"] for file in json.loads(desk.run("report", "last", "--json").stdout)
    ]
    Path(str(desk.last.html)).write_text("forged")
    assert ["CHANGED since the run", "unchanged"] == [
        file["state"] for file in json.loads(desk.run("report", "--json").stdout)
    ]


def test_undo_takes_a_run_back(desk: Desk, write_notebook: Write) -> None:
    """DESIGN "undo RUN": shown first, then done as a run of its own."""
    desk.apply(write_notebook(*CHANGING))
    run = desk.last.id

    assert 0 == desk.run("undo", run).returncode
    assert ["new"] * 3 == desk.values
    assert 0 == desk.run("undo", run, "--apply").returncode
    assert (["old"] * 3, run) == (desk.values, desk.last.undoes)


def test_every_fault_of_the_input_is_said_at_once_before_a_kernel_starts(desk: Desk, write_notebook: Write) -> None:
    """Unknown names, wrong types, missing values and names that are code: exit code 2, no run is opened."""
    path = write_notebook(
        ("need: int\nversion: str = '1'\nshare: Annotated[int, Range(1, 9)] = 1", ["parameters"]), "open('ran', 'w')"
    )
    done = desk.run("run", str(path), "-p", "versoin=1", "-p", "share=10", "-p", "x=0; open('ran','w'); y=1")

    assert 2 == done.returncode
    for part in ("did you mean 'version'?", "10 is not 1 to 9", "need: is required", "is no such parameter"):
        assert part in done.stdout
    assert ([], False) == (desk.runs(), (desk.home / "ran").exists())


def test_values_are_read_by_their_declared_types(desk: Desk, write_notebook: Write) -> None:
    """``-p version 1.10`` stays a text and ``-p dry_run=false`` is False, in the kernel and on record."""
    path = write_notebook(
        ("version: str = '1'\ndry_run: bool = True\nzip_code: str = ''", ["parameters"]),
        "print(repr((version, dry_run, zip_code)))",
    )
    desk.run("run", str(path), "-p", "version=1.10", "-p", "dry_run=false", "-p", "zip_code=007")

    assert "('1.10', False, '007')\n" == desk.output(desk.last, 2)
    assert {"version": "1.10", "dry_run": False, "zip_code": "007"} == desk.last.parameters


def test_a_failing_cell_ends_the_run_and_undoes_its_plans(desk: Desk, write_notebook: Write) -> None:
    """DESIGN "How a run works": after a failed cell the supervisor undoes what earlier cells changed."""
    cells = (*CHANGING[:4], "1 / 0", "print('never')")
    done = desk.apply(write_notebook(*cells))

    assert (1, "failed", ["old"] * 3) == (done.returncode, desk.last.state, desk.values)
    assert ["completed"] * 5 + ["failed", "not_run"] == desk.statuses(desk.last)
    assert "ZeroDivisionError" in desk.last.error
    assert ["undone"] * 3 == desk.steps(desk.last.id)


def test_an_approval_by_somebody_else_lets_the_same_plan_through(desk: Desk, write_notebook: Write) -> None:
    """DESIGN "Approval": awaiting_approval, exit 4; approved by another user, --resume runs it in the same journal."""
    path = write_notebook(*CHANGING, approval=True)
    done = desk.apply(path)
    run = desk.last.id

    assert (4, "awaiting_approval", ["old"] * 3) == (done.returncode, desk.last.state, desk.values)
    assert "asked for this run and cannot approve it" in desk.run("approve", run).stdout
    assert 4 == desk.run("run", "--resume", run).returncode
    approve_as_bob(desk, run)
    done = desk.run("run", "--resume", run)
    assert (0, "completed", ["new"] * 3) == (done.returncode, desk.last.state, desk.values)
    assert (run, "whole") == (desk.last.id, desk.journal_state(run))


def test_an_approved_plan_whose_world_changed_waits_again_with_the_difference(
    desk: Desk, write_notebook: Write
) -> None:
    """DESIGN "Approval": a different hash exits 4 and shows what is different."""
    path = write_notebook(*CHANGING, approval=True)
    desk.apply(path)
    approve_as_bob(desk, desk.last.id)
    notebook = json.loads(path.read_text())
    notebook["cells"][2]["source"] = notebook["cells"][2]["source"].replace("'abc'", "'ab'")
    path.write_text(json.dumps(notebook))
    done = desk.run("run", "--resume", desk.last.id)

    assert (4, ["old"] * 3) == (done.returncode, desk.values)
    assert "- write new into c" in done.stdout


def test_break_glass_goes_through_and_everyone_configured_is_told(desk: Desk, write_notebook: Write) -> None:
    """DESIGN "Break-glass": flagged in the record, and told to the configured commands."""
    (desk.home / "sretoolkit.toml").write_text(f'[notify]\ncommands = [["tee", "{desk.home}/told"]]\n')
    done = desk.apply(write_notebook(*CHANGING, approval=True), "--break-glass", "the site is down")

    assert (0, ["new"] * 3) == (done.returncode, desk.values)
    assert "the site is down" == json.loads((desk.home / "told").read_text())["break_glass"]
    assert "break-glass: the site is down" in Path(str(desk.last.html)).read_text()


def test_a_canary_secret_is_found_nowhere(desk: Desk, write_notebook: Write) -> None:
    """DESIGN "Secrets": the value reaches the kernel that was named it, and no file, argument or foreign environment."""
    canary = "canary/Value+with=odd&chars-5e1f"
    path = write_notebook(
        ("from sretoolkit import Secret\ntoken: Secret", ["parameters"]),
        "import base64, os, subprocess, urllib.parse\nvalue = token.reveal()\nprint(len(value), value, repr(value))",
        "print(base64.b64encode(value.encode()).decode(), base64.b64encode(b'x' + value.encode()).decode())",
        "print(urllib.parse.quote(value), urllib.parse.quote_plus(value), value.encode().hex())",
        "print(subprocess.run(['env'], capture_output=True, text=True).stdout.count('CANARY'))",
        "import sys\nprint(value[:16], file=sys.stderr, end='')\nprint(value[16:], file=sys.stderr)",
        "{'nested': [value, {value: value}]}",
        "raise ValueError(value)",
    )
    done = desk.run("run", str(path), "-p", "token=env:CANARY_TOKEN", CANARY_TOKEN=canary)

    assert 1 == done.returncode
    assert "32 «secret»" in desk.output(desk.last, 2)
    assert "0" in desk.output(desk.last, 5)
    found = forms_found(canary, desk.home) + [form for form in forms(canary) if form in done.stdout]
    assert [] == found


def test_a_secret_that_was_not_named_is_not_to_be_had(desk: Desk, write_notebook: Write) -> None:
    """DESIGN "Secrets": a kernel gets the secrets that its runbook names, and nothing else of that kind."""
    path = write_notebook(
        "import os\nprint(sorted(name for name in os.environ if 'TOKEN' in name or 'PASSWORD' in name))",
        "from sretoolkit import Secret\nSecret('env:OTHER_TOKEN').reveal()",
    )
    desk.run("run", str(path), OTHER_TOKEN="not for you", DB_PASSWORD="nor for you")

    assert ("[]\n", "failed") == (desk.output(desk.last, 0), desk.last.state)
    assert "was not given the secret env:OTHER_TOKEN" in desk.last.error


def test_secrets_are_granted_wherever_a_parameter_names_them(desk: Desk, write_notebook: Write) -> None:
    """DESIGN "Secrets": in lists and dictionaries too; a host's only to a HostName, not to any text that is the same."""
    (desk.home / "sretoolkit.toml").write_text('[hosts.web]\naddress = "a"\npassword = "env:WEB_WORD"\n')
    cell = (
        "from sretoolkit import Secret\nfrom sretoolkit.runbook import HostName\n"
        "tokens: dict[str, Secret]\nname: str = 'web'\nhosts: list[HostName] = []",
        ["parameters"],
    )
    path = write_notebook(cell, "print(len(tokens['a'].reveal()))", "print(len(Secret('env:WEB_WORD').reveal()))")
    words = {"A_WORD": "first-secret", "WEB_WORD": "second-secret"}
    given = ("run", str(path), "-p", 'tokens={"a": "env:A_WORD"}')

    assert 1 == desk.run(*given, **words).returncode
    assert ("12\n", True) == (desk.output(desk.last, 2), "was not given the secret env:WEB_WORD" in desk.last.error)
    assert 0 == desk.run(*given, "-p", "hosts=web", **words).returncode
    assert "13\n" == desk.output(desk.last, 3)


def test_stock_papermill_with_our_engine_keeps_our_promises(desk: Desk, write_notebook: Write) -> None:
    """``papermill --engine sretoolkit`` refuses what stock papermill lets through, and runs in plan mode."""
    path = write_notebook(
        ("dry_run: bool = True\nn: int = 1", ["parameters"]), "print(repr((dry_run, n)))", "open('ran', 'w')"
    )
    papermill = [sys.executable, "-m", "papermill", "--engine", "sretoolkit", str(path), str(desk.home / "out.ipynb")]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*papermill, *arguments], env=desk.environment, cwd=desk.home, capture_output=True, text=True, check=False
        )

    for bad in (("-p", "n", "notanint"), ("-p", "nn", "2"), ("-p", "n=0; open('ran','w'); zz", "1")):
        assert 0 != run(*bad).returncode
        assert not (desk.home / "ran").exists()
    done = run("-p", "dry_run", "false", "-p", "n", "3")
    assert 0 == done.returncode, done.stderr
    assert "(False, 3)\n" == desk.output(desk.last, 2)
    assert ("completed", "papermill", "whole") == (desk.last.state, desk.last.origin, desk.journal_state(desk.last.id))


def test_the_commands_answer_in_json(desk: Desk, write_notebook: Write) -> None:
    """Every command that a script would want speaks JSON."""
    desk.apply(write_notebook(*CHANGING))
    commands = [
        ("list",), ("runs",), ("show", "last"), ("show", "tcp_congestion"), ("show", "tcp_congestion", "--schema"), ("lease",),
        ("config",), ("version",), ("journal", "verify", "--all"), ("journal", "export", "last"), ("report",),
        ("diff", "last", "last"), ("doctor",),
    ]  # fmt: skip
    for command in commands:
        form = () if command[1:2] == ("export",) or "--schema" in command else ("--json",)
        done = desk.run(*command, *form)
        assert 0 == done.returncode, done.stdout
        json.loads(done.stdout)


def test_two_runs_are_compared_by_what_they_mean(desk: Desk, write_notebook: Write) -> None:
    """``diff`` shows inputs, actions and results, not text."""
    path = write_notebook(*CHANGING)
    desk.apply(path)
    one = desk.last.id
    desk.run("undo", one, "--apply")
    desk.world.tell("b.do", "raise")
    desk.apply(path, "-p", "policy=hold")
    rows = {
        row["what"]: (row["one"], row["other"])
        for row in json.loads(desk.run("diff", one, desk.last.id, "--json").stdout)
    }

    assert ("undo", "hold") == rows["parameter policy"]
    assert ("completed", "held") == rows["state"]
    assert "done ('old' -> 'new')" == rows["action write new into b"][0]


def test_a_run_can_be_started_from_a_program(desk: Desk, write_notebook: Write, config: object) -> None:
    """A program calls the same function, in a thread of its own too."""
    program = (
        "import sys, threading\nfrom pathlib import Path\nfrom sretoolkit.config import Config\n"
        "from sretoolkit.runbook import Order, Runbook, run_runbook\n"
        "book = Runbook.read(Path(sys.argv[1]))\nresults = []\n"
        "work = lambda: results.append(run_runbook(Order(book, book.parameters.check({}))))\n"
        "thread = threading.Thread(target=work)\nthread.start()\nthread.join()\nprint(results[0].state)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(write_notebook("1 + 1"))], env=desk.environment, cwd=desk.home,
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert "completed\n" == done.stdout, done.stderr


def approve_as_bob(desk: Desk, run: str) -> None:
    """Approve as another user of a shared store, through the library: the test has only one user."""
    from sretoolkit.actor import Actor
    from sretoolkit.journal import load_run
    from sretoolkit.plan.approval import approve
    from sretoolkit.store import Store

    with Store(desk.config["store.url"]) as store:
        approve(store, load_run(store, run), actor=Actor("bob"), config=desk.config)


def forms(canary: str) -> list[str]:
    """The canary as it might be written."""
    import base64
    import urllib.parse

    raw = canary.encode()
    return [
        canary, urllib.parse.quote(canary), urllib.parse.quote(canary, safe=""), urllib.parse.quote_plus(canary), raw.hex(),
        base64.b64encode(raw).decode().rstrip("="), base64.b64encode(b"x" + raw).decode()[4:-4],
    ]  # fmt: skip


def forms_found(canary: str, folder: Path) -> list[str]:
    """Every file below a folder, and every process of this machine, that has a form of the canary in it."""
    found = []
    places = [path for path in folder.rglob("*") if path.is_file()]
    places += [*Path("/proc").glob("[0-9]*/cmdline"), *Path("/proc").glob("[0-9]*/environ")]
    for path in places:
        try:
            content = path.read_bytes()
        except OSError:
            continue
        found += [f"{form} in {path}" for form in forms(canary) if form.encode() in content]
    return found
