"""A real Nagios 4 with its CGIs behind Basic authentication, in a folder of its own, on loopback only.

::

    with Nagios(log=["[1700000000] SERVICE ALERT: h1;past;CRITICAL;HARD;1;broken"]) as server:
        server.options  # of a configured source
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sretoolkit.clock import poll
from tests.stack.process import Process, free_port, program

_ATTEMPTS = 5  # somebody else may take a free port between our look and the server's start
_CGIS = Path("/usr/lib/cgi-bin/nagios4")
_PLUGINS = Path("/usr/lib/nagios/plugins")
_PASSWORDS = {"nagiosadmin": "SRETOOLKIT_TEST_NAGIOS", "guest": "SRETOOLKIT_TEST_NAGIOS_GUEST"}
_MAIN = """\
log_file={folder}/var/nagios.log
cfg_file={folder}/conf/objects.cfg
object_cache_file={folder}/var/objects.cache
precached_object_file={folder}/var/objects.precache
resource_file={folder}/conf/resource.cfg
status_file={folder}/var/status.dat
status_update_interval=1
check_external_commands=1
command_file={folder}/rw/nagios.cmd
query_socket={folder}/rw/nagios.qh
lock_file={folder}/nagios.lock
temp_file={folder}/var/nagios.tmp
temp_path={folder}/tmp
check_result_path={folder}/spool/checkresults
state_retention_file={folder}/var/retention.dat
log_archive_path={folder}/var/archives
log_rotation_method=n
use_syslog=0
interval_length=1
max_service_check_spread=1
max_host_check_spread=1
check_result_reaper_frequency=1
date_format={date_format}
check_for_updates=0
illegal_macro_output_chars=`~$&|'"<>
"""
_TEMPLATES = """\
define command {
 command_name dummy
 command_line $USER1$/check_dummy $ARG1$ "$ARG2$"
}
define timeperiod {
 timeperiod_name always
 alias always
 sunday 00:00-24:00
 monday 00:00-24:00
 tuesday 00:00-24:00
 wednesday 00:00-24:00
 thursday 00:00-24:00
 friday 00:00-24:00
 saturday 00:00-24:00
}
define command {
 command_name nothing
 command_line /bin/true
}
define contact {
 contact_name nagiosadmin
 host_notifications_enabled 0
 service_notifications_enabled 0
 host_notification_period always
 service_notification_period always
 host_notification_commands nothing
 service_notification_commands nothing
}
define host {
 name a-host
 register 0
 check_command dummy!0!up
 check_interval 2
 retry_interval 1
 max_check_attempts 1
 check_period always
 notification_period always
 contacts nagiosadmin
}
define service {
 name a-service
 register 0
 check_interval 2
 retry_interval 1
 max_check_attempts 1
 check_period always
 notification_period always
 contacts nagiosadmin
}
"""
_HOSTS: dict[str, dict[str, str]] = {
    "h1": {"address": "192.0.2.1", "_OS": "Linux"},
    "h2": {"address": "192.0.2.2"},
    "router": {"address": "192.0.2.3", "check_command": "dummy!2!no answer"},
    "behind": {"address": "192.0.2.4", "check_command": "dummy!2!no answer", "parents": "router"},
}
_SERVICES: dict[tuple[str, str], dict[str, str]] = {
    ("h1", "api"): {"check_command": r"dummy!0!OK|latency=12ms\;100\;200\;0 errors=3c 'used space'=0.25;0.8"},
    ("h1", "past"): {"check_command": "dummy!3!nodata", "active_checks_enabled": "0"},
    ("h2", "bad"): {"check_command": r"dummy!2!broken|rate=5\;1\;2"},
    ("h2", "slow"): {"check_command": "dummy!1!slow", "max_check_attempts": "1000"},
    ("h2", "passive"): {"check_command": "dummy!3!nodata", "active_checks_enabled": "0"},
}
_CGI = """\
main_config_file={folder}/conf/nagios.cfg
physical_html_path=/usr/share/nagios4/htdocs
url_html_path=/nagios4
use_authentication=1
authorized_for_system_information=nagiosadmin
authorized_for_configuration_information=nagiosadmin
authorized_for_system_commands=nagiosadmin
authorized_for_all_services=nagiosadmin
authorized_for_all_hosts=nagiosadmin
authorized_for_all_service_commands=nagiosadmin
authorized_for_all_host_commands=nagiosadmin
result_limit=100
"""
_WEB = """\
server.port = {port}
server.bind = "127.0.0.1"
server.document-root = "{folder}/www"
server.modules = ("mod_access","mod_alias","mod_auth","mod_authn_file","mod_setenv","mod_cgi")
alias.url = ("/nagios4/cgi-bin" => "{cgis}")
cgi.assign = (".cgi" => "")
setenv.set-environment = ("NAGIOS_CGI_CONFIG" => "{folder}/conf/cgi.cfg")
auth.backend = "plain"
auth.backend.plain.userfile = "{folder}/conf/users"
auth.require = ("/nagios4" => ("method" => "basic", "realm" => "nagios", "require" => "valid-user"))
"""


class Nagios:
    """Hosts h1, h2, router (down) and behind (unreachable); services with each state; users nagiosadmin and guest.

    ``log`` is history, written before the start: the states of h1's service ``past``, which is never checked, are known
    exactly. ``guest`` may log in and see nothing.
    """

    def __init__(self, *, log: Sequence[str] = (), date_format: str = "iso8601") -> None:
        self.history = log
        self.date_format = date_format
        self.folder = Path()
        self.port = 0
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """The address below which ``cgi-bin`` lies."""
        return f"http://127.0.0.1:{self.port}/nagios4"

    @property
    def options(self) -> dict[str, Any]:
        """Of a configured source with all rights."""
        return self.options_of("nagiosadmin")

    def options_of(self, user: str) -> dict[str, Any]:
        """Of a configured source with this login."""
        return {"kind": "nagios", "url": self.url, "username": user, "password": f"env:{_PASSWORDS[user]}"}

    @property
    def secrets(self) -> dict[str, str]:
        """What the options refer to."""
        return {name: f"{user}-password" for user, name in _PASSWORDS.items()}

    def __enter__(self) -> Self:
        with self._stack:
            self.folder = Path(tempfile.mkdtemp(prefix="nagios-"))
            self._stack.callback(shutil.rmtree, self.folder)
            self._write()
            self.start()
            self._stack.callback(lambda: self.core.stop())
            self._web()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def start(self) -> None:
        """Start the core and wait for its first status; `stop` the ``core`` before."""
        command = [program("nagios4", "nagios4-core"), str(self.folder / "conf/nagios.cfg")]
        self.core = Process(self.folder, "nagios", command)
        log = self.folder / "var/nagios.log"
        if not poll((self.folder / "var/status.dat").exists, timeout=20):
            self.core.stop()
            told = log.read_text() if log.exists() else ""
            raise RuntimeError(f"nagios4 does not start:\n{self.core.log.read_text()}{told}")

    def _write(self) -> None:
        for name in ("conf", "var/archives", "rw", "spool/checkresults", "tmp", "www"):
            (self.folder / name).mkdir(parents=True)
        if not _CGIS.is_dir() or not (_PLUGINS / "check_dummy").exists():
            raise RuntimeError(f"{_CGIS} is missing; install it: apt-get install nagios4-cgi monitoring-plugins-basic")
        objects = [_defined("host", {"use": "a-host", "host_name": name, **more}) for name, more in _HOSTS.items()]
        objects += [
            _defined("service", {"use": "a-service", "host_name": host, "service_description": name, **more})
            for (host, name), more in _SERVICES.items()
        ]
        objects.append(_defined("hostgroup", {"hostgroup_name": "web", "members": "h1,h2"}))
        main = _MAIN.format(folder=self.folder, date_format=self.date_format)
        if os.geteuid() == 0:
            main += "nagios_user=nagios\nnagios_group=nagios\n"
        logins = "".join(f"{user}:{self.secrets[name]}\n" for user, name in _PASSWORDS.items())
        files = {
            "conf/nagios.cfg": main,
            "conf/objects.cfg": _TEMPLATES + "\n".join(objects),
            "conf/resource.cfg": f"$USER1$={_PLUGINS}\n",
            "conf/cgi.cfg": _CGI.format(folder=self.folder),
            "conf/users": logins,
            "www/ready": "",
            "var/nagios.log": "".join(f"{line}\n" for line in self.history),
        }
        for name, text in files.items():
            (self.folder / name).write_text(text)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "nagios:nagios", str(self.folder)], check=True)
        self.folder.chmod(0o755)

    def _web(self) -> None:
        for attempt in range(_ATTEMPTS):
            self.port = free_port()
            config = self.folder / "conf/lighttpd.conf"
            config.write_text(_WEB.format(port=self.port, folder=self.folder, cgis=_CGIS))
            web = Process(self.folder, "lighttpd", [program("lighttpd", "lighttpd"), "-D", "-f", str(config)])
            try:
                web.wait_for(f"http://127.0.0.1:{self.port}/ready")
            except RuntimeError as error:
                if "Address already in use" not in str(error) or attempt == _ATTEMPTS - 1:
                    raise
                continue
            self._stack.callback(web.stop)
            return


def _defined(kind: str, given: dict[str, str]) -> str:
    inside = "".join(f" {name} {value}\n" for name, value in given.items())
    return f"define {kind} {{\n{inside}}}\n"
