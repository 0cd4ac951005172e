"""A real Icinga 2 with its API over TLS, in a folder of its own, on loopback only.

::

    with Icinga2() as server:
        server.options  # of a configured source with all rights
"""

from __future__ import annotations

import base64
import grp
import os
import pwd
import shutil
import ssl
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sretoolkit.clock import poll
from tests.stack.process import Process, free_port, program

_ATTEMPTS = 5  # somebody else may take a free port between our look and the server's start
_CONFIG = r"""
const NodeName = "localhost"
const ZoneName = "localhost"
const PluginDir = "/usr/lib/nagios/plugins"
include <itl>
object Endpoint NodeName { }
object Zone ZoneName { endpoints = [ NodeName ] }
object CheckerComponent "checker" { }
object FileLogger "file" { path = "FOLDER/log/icinga2.log"; severity = "warning" }
object ApiListener "api" { bind_host = "127.0.0.1"; bind_port = PORT }
object ApiUser "root" { password = "root-password"; permissions = [ "*" ] }
object ApiUser "ro" { password = "ro-password"; permissions = [ "objects/query/*", "status/query", "events/*" ] }
object ApiUser "h1only" {
  password = "h1only-password"
  permissions = [
    { permission = "objects/query/Host"; filter = {{ host.name == "h1" }} },
    { permission = "objects/query/Service"; filter = {{ host.name == "h1" }} }
  ]
}
object ApiUser "statusonly" { password = "statusonly-password"; permissions = [ "status/query" ] }
object HostGroup "web" { assign where host.vars.os }
object Host "h1" {
  address = "192.0.2.1"; check_command = "dummy"; check_interval = 2s; vars.os = "Linux"; vars.dummy_text = "up"
}
object Host "h2" { address = "192.0.2.2"; check_command = "dummy"; check_interval = 2s; vars.os = "FreeBSD" }
object Host "router" {
  address = "192.0.2.3"; check_command = "dummy"; check_interval = 1s; retry_interval = 1s; max_check_attempts = 1
  vars.dummy_state = 2; vars.dummy_text = "no answer"
}
object Host "behind" {
  address = "192.0.2.4"; check_command = "dummy"; check_interval = 1s; retry_interval = 1s; max_check_attempts = 1
  vars.dummy_state = 2; vars.dummy_text = "no answer"
}
object Dependency "router" { parent_host_name = "router"; child_host_name = "behind" }
object Service "api" {
  host_name = "h1"; check_command = "dummy"; check_interval = 2s
  vars.dummy_text = "OK|latency=12ms;100;200;0 errors=3c 'used space'=0.25;0.8"
}
object Service "bad" {
  host_name = "h2"; check_command = "dummy"; check_interval = 1s; retry_interval = 1s; max_check_attempts = 1
  vars.dummy_state = 2; vars.dummy_text = "broken|rate=5;1;2"
}
object Service "slow" {
  host_name = "h2"; check_command = "dummy"; check_interval = 1s; retry_interval = 1s; max_check_attempts = 100000
  vars.dummy_state = 1; vars.dummy_text = "slow"
}
object Service "never" { host_name = "h2"; check_command = "passive"; enable_active_checks = false }
object Service "passive" {
  host_name = "h2"; check_command = "passive"; enable_active_checks = false; max_check_attempts = 1
}
"""


class Icinga2:
    """Hosts h1, h2, router (down) and behind (unreachable); services with each state.

    Users: ``root`` may all, ``ro`` only look, ``h1only`` sees one host, ``statusonly`` no object.
    """

    def __init__(self) -> None:
        self.folder = Path()
        self.port = 0
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """The address of the API."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def options(self) -> dict[str, Any]:
        """Of a configured source with all rights."""
        return self.options_of("root")

    def options_of(self, user: str) -> dict[str, Any]:
        """Of a configured source with this login."""
        trust = str(self.folder / "data/certs/ca.crt")
        password = f"env:SRETOOLKIT_TEST_ICINGA2_{user.upper()}"
        return {"kind": "icinga2", "url": self.url, "username": user, "password": password, "ca": trust}

    @property
    def secrets(self) -> dict[str, str]:
        """What the options refer to."""
        users = ("root", "ro", "h1only", "statusonly")
        return {f"SRETOOLKIT_TEST_ICINGA2_{user.upper()}": f"{user}-password" for user in users}

    def __enter__(self) -> Self:
        with self._stack:
            self.folder = Path(tempfile.mkdtemp(prefix="icinga2-"))
            self._stack.callback(shutil.rmtree, self.folder)
            for name in ("data/certs", "data/ca", "log", "cache", "spool", "run"):
                (self.folder / name).mkdir(parents=True)
            self._certify()
            self._start()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _certify(self) -> None:
        made = self.folder / "data/certs"
        command = [program("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt"]
        command += ["ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj", "/CN=localhost", "-addext"]
        command += ["subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(made / "localhost.key")]
        subprocess.run([*command, "-out", str(made / "localhost.crt")], check=True, capture_output=True, timeout=60)
        shutil.copy(made / "localhost.crt", made / "ca.crt")

    def _start(self) -> None:
        for attempt in range(_ATTEMPTS):
            self.port = free_port()
            config = self.folder / "icinga2.conf"
            config.write_text(_CONFIG.replace("FOLDER", str(self.folder)).replace("PORT", str(self.port)))
            command = [program("icinga2", "icinga2-bin"), "daemon", "-c", str(config), *self._places()]
            server = Process(self.folder, "icinga2", command)
            if self._up(server):
                self._stack.callback(server.stop)
                return
            server.stop()
            log = server.log.read_text(errors="replace")
            if "ddress already in use" not in log or attempt == _ATTEMPTS - 1:
                raise RuntimeError(f"icinga2 does not answer at {self.url}:\n{log[-4000:]}")

    def _up(self, server: Process) -> bool:
        poll(lambda: server.child.poll() is not None or self._answers(), timeout=30)
        return server.child.poll() is None and self._answers()

    def _answers(self) -> bool:
        trust = ssl.create_default_context(cafile=str(self.folder / "data/certs/ca.crt"))
        login = base64.b64encode(b"root:root-password").decode()
        request = urllib.request.Request(f"{self.url}/v1/status/CIB", headers={"Authorization": f"Basic {login}"})
        handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def _places(self) -> Iterator[str]:
        yield f"-DConfiguration.RunAsUser={pwd.getpwuid(os.geteuid()).pw_name}"
        yield f"-DConfiguration.RunAsGroup={grp.getgrgid(os.getegid()).gr_name}"
        for name, folder in (
            ("DataDir", "data"), ("LogDir", "log"), ("CacheDir", "cache"), ("SpoolDir", "spool"), ("InitRunDir", "run"),
        ):  # fmt: skip
            yield f"-DConfiguration.{name}={self.folder / folder}"
