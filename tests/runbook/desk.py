"""An engineer's desk: the real command line in processes of its own, and what can be seen of a run afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.journal import Journal, Keys, Run, find_runs, verify_run
from sretoolkit.plan.history import fold
from sretoolkit.store import Store
from tests.conftest import REPOSITORY
from tests.plan.steps import Folder

CHANGING = (
    "from pathlib import Path\nfrom sretoolkit.plan import Plan\nfrom tests.plan.steps import Folder",
    ('folder: str  # where the files are\npolicy: str = "undo"', ["parameters"]),
    "world = Folder(Path(folder))\nsteps = [world.step(name) for name in 'abc']\n"
    "plan = Plan('change', steps, on_failure=policy)\nplan",
    'print("before the plan")\nplan.run()',
    ('print("verified")', ["after-apply"]),
    'print("the end")',
)


class Desk:
    """Runs ``sretoolkit`` with a store, keys and records of its own; every process of it carries a mark."""

    def __init__(self, home: Path, config: Config, **environment: str) -> None:
        self.home = home
        self.config = config
        self.world = Folder(home / "world")
        self.mark = uuid.uuid4().hex
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DESK_MARK": self.mark,
            "SRETOOLKIT_STORE_URL": config["store.url"],
            "SRETOOLKIT_JOURNAL_KEYS": config["journal.keys"],
            "SRETOOLKIT_RECORDS_FOLDER": config["records.folder"],
            **environment,
        }

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start the command."""
        return subprocess.Popen(
            [sys.executable, "-m", "sretoolkit", *arguments], cwd=self.home, env={**self.environment, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        process = self.start(*arguments, **environment)
        output, _ = process.communicate(timeout=100)
        return subprocess.CompletedProcess(process.args, process.returncode, output, "")

    def apply(self, path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a changing notebook with --apply."""
        return self.run("run", str(path), "-p", f"folder={self.world.path}", "--apply", *arguments, **environment)

    def start_apply(self, path: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """The same, without waiting for it."""
        return self.start("run", str(path), "-p", f"folder={self.world.path}", "--apply", *arguments, **environment)

    def hanging(self, name: str) -> bool:
        """Wait until the step on this file hangs where it was told to."""
        return poll((self.world.path / f"{name}.hanging").exists, timeout=30) is not None

    @property
    def values(self) -> list[str]:
        """What is in the world's three files."""
        return [self.world[name] for name in "abc"]

    def runs(self) -> list[Run]:
        """All runs, newest first."""
        with Store(self.config["store.url"]) as store:
            return find_runs(store)

    @property
    def last(self) -> Run:
        """The newest run."""
        return self.runs()[0]

    def journal_state(self, run: str) -> str:
        """What verification says of a run."""
        with Store(self.config["store.url"]) as store:
            return verify_run(store, Keys.of(self.config), run).state

    def entries(self, run: str, kind: str | None = None) -> list[Any]:
        """A run's journal."""
        with Store(self.config["store.url"]) as store:
            return Journal(store, run, actor=None).entries(kind=kind)  # type: ignore[arg-type]

    def steps(self, run: str) -> list[str]:
        """The status of every step by the journal."""
        return [item.label for plan in fold(self.entries(run)) for item in plan.items]

    def notebook(self, run: Run) -> Mapping[str, Any]:
        """The record's notebook."""
        content: Mapping[str, Any] = json.loads(Path(str(run.notebook)).read_text())
        return content

    def statuses(self, run: Run) -> list[str]:
        """The status of every cell in the record."""
        return [cell["metadata"]["papermill"]["status"] for cell in self.notebook(run)["cells"]]

    def output(self, run: Run, cell: int) -> str:
        """What a cell printed, by the record."""
        return "".join("".join(part.get("text", "")) for part in self.notebook(run)["cells"][cell]["outputs"])

    def survivors(self) -> list[int]:
        """Processes that carry the mark and still live, after a moment of grace."""
        poll(lambda: not self.marked(), timeout=5)
        return self.marked()

    def marked(self) -> list[int]:
        """Processes that carry the mark and still live."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                marked = f"DESK_MARK={self.mark}".encode() in (path / "environ").read_bytes()
                alive = (path / "stat").read_bytes().rpartition(b")")[2].split()[0] not in b"ZX"
            except OSError:
                continue
            if marked and alive:
                found.append(int(path.name))
        return found
