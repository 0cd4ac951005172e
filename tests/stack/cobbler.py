"""A real Cobbler 3.3.10 in mount, network and process namespaces of its own, with an API that this machine can reach.

with Cobbler(folder) as cobbler:
    with cobbler.api() as api:
        api.get_distros()                 # by the way that http://server/cobbler_api is at a real site
    cobbler.collections                   # what it keeps on disk

Its ``/etc``, ``/var`` and ``/srv`` are folders below ``folder``, so that the machine's own are never touched. It is built
once, into the cache. Needs root.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sretoolkit.clock import poll
from tests.stack.environments import environment

VERSION = "3.3.10"
_USER, _PASSWORD = "cobbler", "cobbler"
_RELAY = Path(__file__).with_name("cobbler_relay.py")
_PAGES = Path(__file__).with_name("cobbler_pages.py")
# what programs look up in /etc; the rest of the machine's is not for Cobbler to see
_ETC = ("passwd", "group", "nsswitch.conf", "hosts", "os-release", "ld.so.cache", "localtime", "mime.types")
_FOLDERS = (
    *(f"var/lib/cobbler/{name}" for name in ("loaders", "web", "triggers", "collections")),
    *(f"var/lib/cobbler/collections/{name}s" for name in ("distro", "profile", "system", "repo", "image", "menu")),
    *(f"var/lib/cobbler/collections/{name}" for name in ("mgmtclasses", "packages", "files")),
    *(f"var/log/cobbler/{name}" for name in ("tasks", "anamon", "kicklog", "syslog", "install")),
    "var/www/cobbler", "var/tmp", "var/run", "var/cache", "srv/tftpboot",
)  # fmt: skip
_INSIDE = 'ip link set lo up; for name in etc var srv; do mount --bind "$0/$name" "/$name"; done; exec "$@"'


class Cobbler:
    """Runs as long as the context; `url` is its API on this machine's loopback interface."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self._inside = 0
        self._unshare: subprocess.Popen[bytes] | None = None

    @property
    def collections(self) -> Path:
        """The folder with its collections as JSON."""
        return self.folder / "var/lib/cobbler/collections"

    @property
    def log(self) -> str:
        """What it printed, and its own log."""
        files = (self.folder / "cobblerd.log", self.folder / "var/log/cobbler/cobbler.log")
        return "".join(file.read_text(errors="replace")[-4000:] for file in files if file.exists())

    @property
    def pid(self) -> int:
        """The first process of its namespaces, whose child is cobblerd."""
        return self._inside

    def api(self) -> Any:
        """A new connection to its API, to be used as a context."""
        return xmlrpc.client.ServerProxy(self.url, allow_none=True)

    def login(self) -> str:
        """A token for what changes something."""
        with self.api() as api:
            return str(api.login(_USER, _PASSWORD))

    def make(self, kind: str, **options: Any) -> None:
        """A new distro, profile, subprofile, system or menu, as its own command does it: one call an option, then save."""
        token, known = self.login(), kind.removeprefix("sub")
        with self.api() as api:
            handle = getattr(api, f"new_{kind}")(token)
            for name, value in options.items():
                getattr(api, f"modify_{known}")(handle, name, value, token)
            getattr(api, f"save_{known}")(handle, token)

    def command(self, command: list[str]) -> list[str]:
        """The command line that runs ``command`` in its network, where its API is at ``127.0.0.1:25151``."""
        return ["nsenter", "--target", str(self._inside), "--net", "--", *command]

    @contextmanager
    def pages(self) -> Iterator[str]:
        """What machines ask over HTTP, as at a real site: its WSGI program, in two processes; gives its address inside."""
        place = "127.0.0.1:8000"
        inside = ["nsenter", "--target", str(self._inside), "--net", "--mount", "--"]
        server = [
            str(built() / "bin/python"),
            "-m",
            "gunicorn",
            "--workers",
            "2",
            "--bind",
            place,
            "cobbler_pages:application",
        ]
        shutil.copy(_PAGES, self.folder / "srv")  # alone: beside our own modules it would find this one for Cobbler's
        with (self.folder / "pages.log").open("wb") as log:
            process = subprocess.Popen(
                [*inside, *server], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                env={**os.environ, "PYTHONPATH": "/srv"},
            )  # fmt: skip
        try:
            answers = self.command(
                ["curl", "--silent", "--fail", "--output", "/dev/null", f"http://{place}/cblr/svc/op/index"]
            )
            if not poll(lambda: process.poll() is not None or subprocess.run(answers).returncode == 0, timeout=60):
                raise RuntimeError((self.folder / "pages.log").read_text(errors="replace")[-2000:])
            yield place
        finally:
            process.terminate()
            process.wait(timeout=20)

    def kernel(self, name: str, *, initrd: str = "initrd.gz") -> tuple[str, str]:
        """Files that pass for a kernel and its initrd; gives their paths as Cobbler sees them."""
        tree = self.folder / "srv/trees" / name
        tree.mkdir(parents=True, exist_ok=True)
        for file in ("linux", initrd):
            (tree / file).write_bytes(os.urandom(512))
        return f"/srv/trees/{name}/linux", f"/srv/trees/{name}/{initrd}"

    def __enter__(self) -> Self:
        tree = built()
        self._lay_out(tree)
        with socket.create_server(("127.0.0.1", 0), backlog=64) as here:
            # the socket was opened in this machine's network, so who accepts on it inside is reached from here
            here.set_inheritable(True)
            self.url = f"http://127.0.0.1:{here.getsockname()[1]}/cobbler_api"
            inner = [str(tree / "bin/python"), str(_RELAY), str(here.fileno()), str(tree / "bin/cobblerd")]
            alone = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
            with (self.folder / "cobblerd.log").open("wb") as log:
                self._unshare = subprocess.Popen(
                    [*alone, "sh", "-ec", _INSIDE, str(self.folder), *inner],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[here.fileno()], cwd="/",
                )  # fmt: skip
        try:
            self._wait()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _lay_out(self, tree: Path) -> None:
        packages = next((tree / "lib").glob("python3*")) / "site-packages"
        for name in _FOLDERS:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name in ("etc/cobbler", "var/lib/cobbler", "var/www/cobbler"):
            shutil.copytree(packages / name, self.folder / name, dirs_exist_ok=True)
        for name in _ETC:
            if (Path("/etc") / name).exists():
                shutil.copy(Path("/etc") / name, self.folder / "etc" / name)

    def _wait(self) -> None:
        assert self._unshare is not None
        if not poll(lambda: self._ended() or self._answers(), timeout=120) or self._ended():
            raise RuntimeError(f"Cobbler does not answer (exit {self._unshare.returncode}):\n{self.log}")
        self._inside = int(Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split()[0])

    def _ended(self) -> bool:
        assert self._unshare is not None
        return self._unshare.poll() is not None

    def _answers(self) -> bool:
        try:
            with self.api() as api:
                return bool(api.ping())
        except (OSError, xmlrpc.client.Error):
            return False

    def _end(self) -> None:
        """Its first process is killed with unshare, and all of the namespace with that."""
        if self._unshare is not None:
            self._unshare.kill()
            self._unshare.wait(timeout=20)
            if not poll(lambda: not Path(f"/proc/{self._inside or 'none'}").exists(), timeout=20):
                raise RuntimeError("Cobbler's first process did not end")


def built() -> Path:
    """The virtual environment with Cobbler; made when it is not there yet, which needs a compiler and Debian's headers."""
    try:
        return environment(f"cobbler-{VERSION}-gunicorn", f"cobbler=={VERSION}", "gunicorn")
    except RuntimeError as error:
        raise RuntimeError(f"Cobbler {VERSION} cannot be built; run tests/stack/install as root:\n{error}") from error
