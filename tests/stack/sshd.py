"""A real sshd for tests: its own port, configuration, host key and authorized key, all in a folder of its own.

with Sshd(folder) as server:
    config = Config.of(hosts={"far": server.options()})
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from sretoolkit.clock import poll

_CONFIG = """\
Port {port}
ListenAddress {listen}
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
PermitUserEnvironment no
PerSourcePenalties no
MaxStartups 1000
LogLevel VERBOSE
"""
_MOUNTED = ("unshare", "--mount", "sh", "-ec", 'mount --bind "$1" "$2"; shift 2; exec "$@"', "sh")
_LATER = ("PerSourcePenalties",)  # words that an older sshd does not know


class SshdMissingError(RuntimeError):
    """No sshd is installed where one is expected."""


class Sshd:
    """An sshd on a free loopback port; ``cut()`` kills its open connections, as a broken network would.

    ``listen`` "0.0.0.0": at every address; only in a network namespace of one's own. ``mounts``: folders that are others to
    who logs in here, as on a machine of its own; needs root.
    """

    def __init__(
        self, folder: Path, *, extra: str = "", listen: str = "127.0.0.1", mounts: Mapping[Path, Path] | None = None
    ) -> None:
        self.mounts = mounts or {}
        self.folder = folder
        self.extra = extra
        self.listen = listen
        self.port = 0
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def key(self) -> Path:
        """The private key that is let in."""
        return self.folder / "client_key"

    @property
    def known_hosts(self) -> Path:
        """A known_hosts file with this server's key."""
        return self.folder / "known_hosts"

    @property
    def log(self) -> str:
        """What the server has said so far."""
        return (self.folder / "log").read_text(errors="replace")

    def options(self, **more: Any) -> dict[str, Any]:
        """The table [hosts.NAME] for this server."""
        where = {"connection": "ssh", "address": "127.0.0.1", "port": self.port, "user": self.user}
        return {**where, "key": str(self.key), "known_hosts": str(self.known_hosts), **more}

    def start(self) -> None:
        """Make keys and configuration, start the server and wait until it answers; after `stop`, the same server again."""
        program = self._program()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = self.port or _free_port()
        for path in (self.folder / "host_key", self.key, self.folder / "other_key"):
            if not path.exists():
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True, timeout=30)
        (self.folder / "authorized_keys").write_text((self.folder / "client_key.pub").read_text())
        host_key = " ".join((self.folder / "host_key.pub").read_text().split()[:2])
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {host_key}\n")
        config = self.folder / "sshd_config"
        config.write_text(_CONFIG.format(port=self.port, folder=self.folder, listen=self.listen) + self.extra)
        if subprocess.run([program, "-t", "-f", str(config)], capture_output=True, timeout=30).returncode:
            lines = [line for line in config.read_text().splitlines() if not line.startswith(_LATER)]
            config.write_text("\n".join(lines) + "\n")
        with (self.folder / "log").open("wb") as log:
            command = [program, "-D", "-e", "-f", str(config)]
            for place, other in self.mounts.items():
                command = [*_MOUNTED, str(other), str(place), *command]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if not poll(self._answers, timeout=20):
            self.stop()
            raise RuntimeError(f"sshd did not start: {self.log}")

    def cut(self) -> None:
        """Kill the server's side of every open connection, and nothing else."""
        for pid in self._children():
            subprocess.run(["kill", "-KILL", str(pid)], check=False, timeout=10)

    def stop(self) -> None:
        """Stop the server by its process id, and the connections that are still open."""
        if self._process is not None:
            self.cut()
            self._process.kill()
            self._process.wait(timeout=20)
            self._process = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _program(self) -> str:
        found = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin:" + os.environ.get("PATH", ""))
        if not found or not shutil.which("ssh-keygen"):
            raise SshdMissingError(
                "no sshd and ssh-keygen here; install the package openssh-server (Debian: apt install)"
            )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        return found

    def _children(self) -> list[int]:
        """The whole tree of the server's connection processes that are sshd themselves, not the commands they run."""
        found: list[int] = []
        todo = [self._process.pid] if self._process else []
        while todo:
            for children in Path(f"/proc/{todo.pop()}/task").glob("*/children"):
                for pid in _words(children):
                    if "sshd" in " ".join(_words(Path(f"/proc/{pid}/comm"))):
                        found.append(int(pid))
                        todo.append(int(pid))
        return found

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            return False
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                return probe.recv(4) == b"SSH-"
        except OSError:
            return False


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").split()
    except OSError:
        return []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
