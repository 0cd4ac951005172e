"""A real PostgreSQL for a test: made from nothing in a folder of its own, gone without a trace afterwards.

::

    with Postgres() as server:
        create_engine(server.url)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.stack.process import free_port

_ATTEMPTS = 5  # somebody else may take the free port between our look and the server's start


class Postgres:
    """One server on loopback and on a unix socket; every local user is trusted. ``fsync`` is on, as in production.

    ``address`` is a further one to listen on, for a network whose every machine is trusted, too (pods).

    ``.url`` is for SQLAlchemy with psycopg, ``.folder`` has the data, the socket and ``server.log``. Inside the context
    `stop` and `start` may be called to take the server away and bring it back at the same address.
    """

    user = "postgres"
    database = "postgres"

    def __init__(self, *, address: str = "", network: str = "") -> None:
        self.programs = _programs()
        self.address = address
        self.network = network
        self.folder = Path()
        self.port = 0

    @property
    def url(self) -> str:
        """The address over TCP."""
        return f"postgresql+psycopg://{self.user}@127.0.0.1:{self.port}/{self.database}"

    @property
    def socket_url(self) -> str:
        """The address over the unix socket."""
        return f"postgresql+psycopg://{self.user}@/{self.database}?host={self.folder}&port={self.port}"

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        try:
            if os.geteuid() == 0:
                shutil.chown(self.folder, self.user, self.user)
            self._run(
                "initdb",
                "--pgdata",
                str(self.folder / "data"),
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                f"--username={self.user}",
                "--no-sync",
            )
            if self.network:
                with (self.folder / "data" / "pg_hba.conf").open("a") as trusted:
                    trusted.write(f"host all all {self.network} trust\n")
            self._first_start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder)

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        addresses = ",".join(filter(None, ("127.0.0.1", self.address)))
        options = (
            f"-c listen_addresses={addresses} -c port={self.port} -c unix_socket_directories={self.folder} -c fsync=on"
        )
        self._run("pg_ctl", "start", "-w", "-t", "60", "-D", str(self.folder / "data"), "-l", self._log, "-o", options)

    def stop(self) -> None:
        """Stop the server at once, cutting every connection; nothing happens when it is down already."""
        if (self.folder / "data" / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-w", "-t", "60", "-D", str(self.folder / "data"), "-m", "fast")

    @property
    def _log(self) -> str:
        return str(self.folder / "server.log")

    def _first_start(self) -> None:
        for attempt in range(_ATTEMPTS):
            self.port = free_port()
            try:
                self.start()
                return
            except RuntimeError:
                if attempt == _ATTEMPTS - 1 or "Address already in use" not in Path(self._log).read_text():
                    raise

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of the server's programs as its user; its output is in the error when it fails."""
        command = [str(self.programs / program), *arguments]
        if os.geteuid() == 0:  # the server refuses to run as root
            command = ["runuser", "-u", self.user, "--", *command]
        with tempfile.TemporaryFile("w+") as output:  # not a pipe: the server would keep it open
            done = subprocess.run(
                command, check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", timeout=120
            )
            output.seek(0)
            if done.returncode != 0:
                log = Path(self._log).read_text() if Path(self._log).exists() else ""
                raise RuntimeError(f"{program} failed with {done.returncode}:\n{output.read()}{log}")


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise RuntimeError("PostgreSQL's server programs are missing; install them: apt-get install postgresql")
    return found[-1].parent
