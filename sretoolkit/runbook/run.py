"""Start a run: one way for the command line, a schedule, a program and stock papermill."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.errors import RunbookError, SecretError, SREToolkitError
from sretoolkit.journal import Journal, close_run, load_run, open_run
from sretoolkit.journal.keys import Keys
from sretoolkit.journal.runs import reopen_run
from sretoolkit.plan.history import plans_of
from sretoolkit.plan.recovery import end_kernel
from sretoolkit.plan.session import Session, rejoin
from sretoolkit.runbook.notebook import Runbook, source_of, tags_of
from sretoolkit.runbook.notification import notify
from sretoolkit.runbook.page import Renderer, spare_the_grammar
from sretoolkit.runbook.process import KernelProcess
from sretoolkit.runbook.shared_record import keep
from sretoolkit.runbook.signals import Signals
from sretoolkit.runbook.supervisor import Ending, Event, Limits, Supervisor
from sretoolkit.secrets import Secret
from sretoolkit.store import Store, open_store

if TYPE_CHECKING:
    from nbformat import NotebookNode

_ENDPOINTS = {"HostName": "hosts", "SourceName": "sources"}


@dataclass(frozen=True)
class Order:
    """What is to be run, and how. ``parameters`` are checked values (`Parameters.check`)."""

    runbook: Runbook
    parameters: Mapping[str, Any]
    mode: Literal["plan", "apply"] = "plan"
    origin: str = "library"
    ticket: str = ""
    break_glass: str = ""
    irreversible: bool = False
    wait: float = 0.0
    resume: str = ""
    run: str = ""  # the run's id, when it was given out before
    planned: str = ""  # the run whose plans were shown: others are refused
    actor: Actor | None = None


@dataclass(frozen=True)
class Result:
    """How a run ended, and where its record is."""

    run: str
    state: str
    exit_code: int
    error: str = ""
    notebook: Path | None = None
    html: Path | None = None
    undone: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Planned or completed."""
        return self.exit_code == 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in self.__dict__.items()}


class Launch:
    """A run that was opened and whose kernel is coming up, on its way through papermill to its record."""

    def __init__(self, order: Order, config: Config, *, on_event: Event | None = None) -> None:
        self.order = order
        self.config = config
        self.result: Result | None = None
        self._folder = _writable_folder(config)
        self.store = open_store(config)
        secrets = _secrets(order, config)
        self.signals = Signals()
        self.signals.listen()
        try:
            self._start(_hidden(config), secrets, on_event)
        except BaseException:
            self.signals.close()
            raise

    def _start(self, hidden: frozenset[str], secrets: Mapping[str, str], on_event: Event | None) -> None:
        config = self.config
        self.session = _open(self.order, config, self.store)
        self.journal = self.session.journal
        if on_event is not None:
            on_event("opened", {"run": self.journal.run})
        try:
            kernel = KernelProcess(_grant(self.session, secrets), hidden=hidden)
        except BaseException as error:
            close_run(self.journal, self.session.keys, state="failed", exit_code=1, error=repr(error))
            raise
        limits = Limits(
            config.seconds("run.timeout"), config.seconds("run.cell_timeout"),
            config.seconds("run.grace"), config.seconds("journal.sign_every"),
        )  # fmt: skip
        self._renderer = Renderer()
        self.supervisor = Supervisor(self.session, kernel, limits, on_event=on_event, signals=self.signals)

    @property
    def path(self) -> Path:
        """Where the record's notebook goes; the HTML page stands beside it."""
        return self._folder / f"{self.journal.run}-{self.order.runbook.name}.ipynb"

    def execute(self, notebook: NotebookNode) -> Result:
        """Carry the notebook out under the supervisor, write the record, close the run; says how it ended."""
        from sretoolkit.runbook.record import Saver, write_record

        self.supervisor.save = Saver(self.path)
        ending = self.supervisor.execute(notebook)
        files: dict[str, str] = {}
        try:
            write_record(notebook, self.path, self.session, ending, self._renderer, files)
            if self.store.shared:
                keep(self.store, self.journal.run, self._folder, files)
        except Exception as error:  # whatever is wrong with the record, the run must be closed
            text = f"the record could not be written to {self._folder}: {error}; the journal has every action"
            ending = Ending(ending.state, ending.exit_code or 1, f"{ending.error}; {text}".strip("; "), ending.undone)
        self._renderer.close()
        if files:
            with suppress(SREToolkitError):  # `_close` says it when the store is gone
                self.journal.append("record", {"files": files, "folder": str(self._folder)})
        self.result = self._close(ending, files)
        self.signals.close()
        return self.result

    def give_up(self, error: BaseException) -> None:
        """End what was started for a notebook that never got as far as being carried out, and close the run."""
        self.supervisor.kernel.kill()
        self._renderer.close()
        with suppress(SREToolkitError):
            close_run(self.journal, self.session.keys, state="failed", exit_code=1, error=f"{error!r}")
        self.signals.close()

    def _close(self, ending: Ending, files: Mapping[str, str]) -> Result:
        notebook = self.path if self.path.name in files else None
        html = self.path.with_suffix(".html") if self.path.with_suffix(".html").name in files else None
        undone = ending.undone or []
        try:
            self.store.write(
                "UPDATE runs SET notebook = :notebook, html = :html WHERE id = :run",
                notebook=str(notebook) if notebook else None, html=str(html) if html else None, run=self.journal.run,
            )  # fmt: skip
            payload = {"files": dict(files), "undone": undone}
            close_run(
                self.journal,
                self.session.keys,
                state=ending.state,
                exit_code=ending.exit_code,
                error=ending.error,
                payload=payload,
            )
        except (OSError, SREToolkitError) as error:
            text = f"{ending.error}; the run could not be closed: {error}".strip("; ")
            return Result(self.journal.run, ending.state, ending.exit_code or 1, text, notebook, html, undone)
        return Result(self.journal.run, ending.state, ending.exit_code, ending.error, notebook, html, undone)


def run_runbook(order: Order, config: Config | None = None, *, on_event: Event | None = None) -> Result:
    """Run a runbook through papermill and our engine, in this process as its supervisor; returns how it ended.

    Raises `ConfigError`, `ParameterError`, `SecretError`, `StoreError` or `RunbookError` for what is wrong before a
    kernel starts; what goes wrong after that is in the result, and in the record.
    """
    config = config or Config.load()
    if order.runbook.language() != "python":
        raise RunbookError(f"{order.runbook.path} is a {order.runbook.language()} notebook", hint="runbooks are Python")
    try:
        Path.cwd()
    except OSError as error:
        raise RunbookError("the working folder does not exist any more", hint="cd to one that does") from error
    notebook = prepared(order)
    launch = Launch(order, config, on_event=on_event)
    try:
        papermill = import_papermill()
        with suppress(papermill.PapermillExecutionError):
            papermill.execute_notebook(
                notebook,
                None,
                engine_name="sretoolkit",
                kernel_name="python3",
                progress_bar=False,
                launch=launch,
            )
    except BaseException as error:
        if launch.result is None:
            launch.give_up(error)
        raise
    assert launch.result is not None
    if order.break_glass or launch.result.state == "held":
        about = {**launch.result.to_dict(), "runbook": order.runbook.name, "break_glass": order.break_glass}
        notify(config, about)
    return launch.result


def import_papermill() -> Any:
    """papermill, with its import made cheap: of Arrow it would use a file system alone, and loading it starts threads."""
    spare_the_grammar()
    spared = "pyarrow" not in sys.modules
    if spared:
        sys.modules["pyarrow"] = None  # type: ignore[assignment]
    try:
        import papermill
    finally:
        if spared:
            del sys.modules["pyarrow"]
    return papermill


def prepared(order: Order) -> NotebookNode:
    """The notebook with its parameters injected: typed values, secrets by reference, no outputs of earlier runs."""
    spare_the_grammar()
    import nbformat

    content = json.loads(json.dumps(order.runbook.content))
    content["cells"] = [_tidy(cell, number) for number, cell in enumerate(content["cells"], start=1)]
    content["metadata"] |= {"kernelspec": _KERNEL, "language_info": {"name": "python"}}
    notebook = nbformat.from_dict(content)
    parameters = order.runbook.parameters
    return inject(notebook, parameters.code(order.parameters), parameters.encode(order.parameters))


_KERNEL = {"name": "python3", "language": "python", "display_name": "Python 3"}


def _tidy(cell: dict[str, Any], number: int) -> dict[str, Any]:
    """A cell with every field that readers of notebooks rely on, whatever the file says."""
    about = cell.get("metadata", {})
    name = cell.get("id")
    tidy = {
        "cell_type": cell["cell_type"],
        "id": name if isinstance(name, str) and name else f"cell-{number}",
        "source": source_of(cell),
        "metadata": {**about, "tags": tags_of(cell)},
    }
    if isinstance(cell.get("attachments"), dict):
        tidy["attachments"] = cell["attachments"]
    return tidy | ({"outputs": [], "execution_count": None} if cell["cell_type"] == "code" else {})


def inject(notebook: NotebookNode, code: str, encoded: Mapping[str, Any]) -> NotebookNode:
    """Replace any injected cell by ours, behind the parameters cell, and say in the metadata what was given."""
    from nbformat.v4 import new_code_cell

    cells = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    at = next((number for number, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", [])), None)
    for cell in cells:
        cell.metadata.pop("papermill", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    if at is not None:
        cells.insert(at + 1, new_code_cell(code, id="injected-parameters", metadata={"tags": ["injected-parameters"]}))
    notebook.cells = cells
    notebook.nbformat_minor = max(5, notebook.get("nbformat_minor", 0))
    notebook.metadata["papermill"] = {
        "parameters": dict(encoded),
        "default_parameters": {},
        "environment_variables": {},
    }
    return notebook


def _open(order: Order, config: Config, store: Store) -> Session:
    actor = order.actor or Actor.current(config)
    demands = order.runbook.demands
    if order.resume:
        run = load_run(store, order.resume)
        journal = Journal(store, run.id, actor=actor)
        reopen_run(journal, run, why="run --resume")
        store.reserve(run.id)
        end_kernel(rejoin(store, run.id, config=config))
    else:
        journal = open_run(
            store, Keys.of(config), runbook=order.runbook.name, runbook_hash=order.runbook.hash,
            parameters=order.runbook.parameters.encode(order.parameters), actor=actor, mode=order.mode,
            origin=order.origin, ticket=order.ticket, demands=demands, path=str(order.runbook.path.absolute()),
            run=order.run,
        )  # fmt: skip
    return Session(
        config, store, journal, order.mode, runbook_hash=order.runbook.hash, approval=demands["approval"],
        self_approval=demands["self_approval"], break_glass=order.break_glass,
        irreversible=order.irreversible, wait=order.wait or config.seconds("lease.wait"),
        shown=plans_of(store, order.planned) if order.planned else [],
    )  # fmt: skip


def _grant(session: Session, secrets: Mapping[str, str]) -> dict[str, Any]:
    """What the kernel is told, through a pipe: never by argument, environment or file."""
    names = ("runbook_hash", "approval", "self_approval", "break_glass", "irreversible", "wait", "shown")
    return {
        "run": session.run,
        "mode": session.mode,
        "actor": session.actor.to_dict(),
        "secrets": dict(secrets),
        "store_password": session.store.dialect.password,
        "config": [[value.key, value.value, value.origin] for value in session.config],
        "session": {name: getattr(session, name) for name in names},
    }


def _secrets(order: Order, config: Config) -> dict[str, str]:
    """The values that this runbook was named: its Secret parameters, and those of its HostName and SourceName parameters.

    An empty list of sources means all there are; then one that cannot be resolved must not keep the others from the run.
    """
    references: list[str] = []
    wanted: list[str] = []
    for item in order.runbook.parameters.items:
        sections = [section for name, section in _ENDPOINTS.items() if name in str(item.kind)]
        if order.parameters[item.name] == [] and "sources" in sections:
            for name in config.names("sources"):
                wanted += config.secret_references("sources", name)
        for given in _leaves(order.parameters[item.name]):
            if isinstance(given, Secret):
                references.append(given.reference)
            elif isinstance(given, str):
                references += [found for section in sections for found in config.secret_references(section, given)]
    values = {reference: Secret(reference).reveal() for reference in dict.fromkeys(references)}
    for reference in dict.fromkeys(wanted):
        with suppress(SecretError):
            values[reference] = Secret(reference).reveal()
    return values


def _leaves(value: Any) -> Iterator[Any]:
    """The single values in a list or dictionary of any depth."""
    if isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)
    else:
        yield value


def _hidden(config: Config) -> frozenset[str]:
    """Environment variables that the configuration calls secrets, whatever their names."""
    texts = [value.value for value in config if isinstance(value.value, str)]
    return frozenset(text.removeprefix("env:") for text in texts if text.startswith("env:"))


def _writable_folder(config: Config) -> Path:
    """The folder for records; raises `RunbookError` before anything is begun when nothing can be written there."""
    folder = Path(config["records.folder"]).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
    except OSError as error:
        raise RunbookError(
            f"no record can be written to {folder}: {error.strerror}", hint="free space there, or set records.folder"
        ) from error
    return folder
