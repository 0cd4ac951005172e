"""Containers with a known way to take their stop signal, and the half each belongs to.

The half is the first bit of the SHA-256 of the case's name: decided by the name, before any rule was tried on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

Half = Literal["build", "held back"]
GRACE = 3  # seconds, of docker stop
TERM = "SIGTERM"

# Logs what it is told in /seen, as far as it is asked to; the words are what it does with its stop signal.
APP = """
import os, signal, sys, time
from ctypes import CDLL, create_string_buffer
words = sys.argv[1:]
which = next((int(w) for w in words if w.isdigit()), signal.SIGTERM)
def mark(name):  # a clone may only read what its container can write
    try: open("/seen/" + name, "w").close()
    except OSError: pass
def told(*_):
    mark("told")
    if "noop" not in words: sys.exit(0)
def mask(pid=0): signal.pthread_sigmask(signal.SIG_BLOCK, [which])
if "orphan" in words:
    if os.fork() == 0:
        if os.fork() == 0: time.sleep(1)
        os._exit(0)
    os.wait()
if "nowait" in words and os.fork() == 0: os._exit(0)
if "chld" in words: signal.signal(signal.SIGCHLD, lambda *_: os.waitpid(-1, os.WNOHANG))
if "nochld" in words: signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if "handle" in words or "noop" in words: signal.signal(which, told)
if "ignore" in words: signal.signal(which, signal.SIG_IGN)
if "block" in words or "sigwait" in words or "signalfd" in words: mask()
def ready(): mark("ready")
if "prefork" in words:
    workers = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            signal.signal(which, signal.SIG_DFL); time.sleep(600); os._exit(0)
        workers.append(pid)
    def stop(*_):
        mark("told")
        for pid in workers: os.kill(pid, signal.SIGTERM)
        os._exit(0)
    signal.signal(which, stop); ready()
    while True:
        try: os.wait()
        except ChildProcessError: time.sleep(600)
if "signalfd" in words:
    libc = CDLL(None, use_errno=True); chosen = create_string_buffer(128)
    libc.sigemptyset(chosen); libc.sigaddset(chosen, int(which)); fd = libc.signalfd(-1, chosen, 0)
    ready(); os.read(fd, 128); told(); sys.exit(0)
ready()
if "sigwait" in words:
    signal.sigwait([which]); told(); sys.exit(0)
while True: time.sleep(600)
"""
_PYTHON = ("python3", "/seen/app.py")
_LINE = "python3 /seen/app.py"
_QUIET_JAVA = "public class A{public static void main(String[] a)throws Exception{Thread.sleep(600000);}}"
_NODE_MARKS = "const mark=n=>{try{require('fs').writeFileSync('/seen/'+n,'')}catch{}};"
_NODE = _NODE_MARKS + "setInterval(()=>{},1e9);mark('ready')"
_NODE_HEARS = _NODE + ";process.on('SIGTERM',()=>{mark('told');process.exit(0)})"
_TMPFS = ("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp")
_SYSTEMD = ("-e", "container=docker", *_TMPFS, "-v", "/sys/fs/cgroup:/sys/fs/cgroup:ro")
_READY = "touch /seen/ready; "
FILES = {
    "app.py": APP,
    "A.java": _QUIET_JAVA,
    "nginx.conf": "pid /tmp/pid; error_log stderr; daemon off; worker_processes 2; events {} http { access_log off; "
    "client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d; "
    "scgi_temp_path /tmp/e; server { listen 127.0.0.1:8080; } }",
    "haproxy.cfg": "defaults\n mode tcp\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n"
    "listen a\n bind 127.0.0.1:8080\n server b 127.0.0.1:9\n",
    "prometheus.yml": "global: {}\n",
}


@dataclass(frozen=True)
class Case:
    """One container; ``logs``: its program would leave a mark when it is told; ``ready``: it leaves one when it runs.

    ``beside``: the case whose PID namespace it shares; ``runtime`` the program that runs it.
    """

    name: str
    command: tuple[str, ...]
    options: tuple[str, ...] = ()
    logs: bool = False
    ready: bool = True
    runtime: Literal["docker", "podman"] = "docker"
    beside: str = ""

    @property
    def half(self) -> Half:
        """By its name alone."""
        return "held back" if sha256(self.name.encode()).digest()[0] & 1 else "build"


def _app(name: str, *words: str, before: tuple[str, ...] = (), options: tuple[str, ...] = ()) -> Case:
    logs = bool({"handle", "noop", "sigwait", "signalfd", "prefork"} & set(words))
    return Case(name, (*before, *_PYTHON, *words), options, logs)


def _line(name: str, *command: str, options: tuple[str, ...] = (), logs: bool = True) -> Case:
    return Case(name, command, options, logs)


def _bare(name: str, *command: str, options: tuple[str, ...] = ()) -> Case:
    return Case(name, command, options, ready=False)


def _signal(name: str) -> tuple[str, ...]:
    return ("--stop-signal", name)


_BEHIND = f"{_LINE} handle; true"
CASES: tuple[Case, ...] = (
    _line("dash-c", "dash", "-c", _BEHIND),
    _line("bash-c", "bash", "-c", _BEHIND),
    _line("busybox-c", "busybox", "sh", "-c", _BEHIND),
    _line("dash-c-one-command", "dash", "-c", f"{_LINE} handle"),
    _line("bash-c-one-command", "bash", "-c", f"{_LINE} handle"),
    _line("dash-c-exec", "dash", "-c", f"exec {_LINE} handle"),
    _line("bash-trap-foreground", "bash", "-c", f"trap 'exit 0' TERM; {_LINE} handle; true"),
    _line(
        "bash-trap-background",
        "bash", "-c", f"trap 'kill $!; wait; exit 0' TERM; {_LINE} handle & wait",
    ),
    _line(
        "bash-trap-loop",
        "bash", "-c", f"trap 'touch /seen/told; exit 0' TERM; {_READY}while :; do sleep 1; done",
    ),
    _line("dash-trap-foreground", "dash", "-c", f"trap 'exit 0' TERM; {_LINE} handle; true"),
    _line("bash-trap-ignores", "bash", "-c", f"trap '' TERM; {_READY}sleep 600; true", logs=False),
    _app("exec-handler", "handle"),
    _app("exec-no-handler", "default"),
    _app("exec-noop-handler", "noop"),
    _app("exec-ignored", "ignore"),
    _app("exec-blocked", "block"),
    _app("exec-sigwait", "sigwait"),
    _app("exec-signalfd", "signalfd"),
    _app("prefork-server", "prefork"),
    _app("prefork-behind-tini", "prefork", before=("tini", "--")),
    _app("orphaning-app", "handle", "orphan"),
    _app("orphaning-app-init", "handle", "orphan", options=("--init",)),
    _app("non-waiting-app", "handle", "nowait"),
    _app("reaping-handler-app", "handle", "chld"),
    _app("sigchld-ignored-app", "default", "nochld"),
    _app("dumb-init-handler", "handle", before=("dumb-init", "--")),
    _app("dumb-init-default", "default", before=("dumb-init", "--")),
    _line("dumb-init-shell", "dumb-init", "--", "dash", "-c", _BEHIND),
    _line("dumb-init-c-shell", "dumb-init", "-c", "--", "dash", "-c", _BEHIND),
    _app("tini-handler", "handle", before=("tini", "--")),
    _app("tini-default", "default", before=("tini", "--")),
    _app("tini-g-handler", "handle", before=("tini", "-g", "--")),
    _app("tini-s-handler", "handle", before=("tini", "-s", "--")),
    _app("tini-ignored", "ignore", before=("tini", "--")),
    _app("tini-blocked", "block", before=("tini", "--")),
    _app("tini-sigwait", "sigwait", before=("tini", "--")),
    _line("tini-shell", "tini", "--", "dash", "-c", _BEHIND),
    _line("tini-g-shell", "tini", "-g", "--", "dash", "-c", _BEHIND),
    _line("tini-shell-trap", "tini", "--", "bash", "-c", f"trap 'exit 0' TERM; {_LINE} handle & wait"),
    _app("catatonit-handler", "handle", before=("catatonit", "--")),
    _line("catatonit-shell", "catatonit", "--", "dash", "-c", _BEHIND),
    _line("catatonit-g-shell", "catatonit", "-g", "--", "dash", "-c", _BEHIND),
    _app("docker-init-handler", "handle", options=("--init",)),
    _app("docker-init-default", "default", options=("--init",)),
    _app("docker-init-signalfd", "signalfd", options=("--init",)),
    _line("docker-init-shell", "sh", "-c", _BEHIND, options=("--init",)),
    Case("podman-init-handler", (*_PYTHON, "handle"), ("--init",), logs=True, runtime="podman"),
    Case("podman-init-shell", ("sh", "-c", _BEHIND), ("--init",), logs=True, runtime="podman"),
    Case("podman-no-handler", (*_PYTHON, "default"), runtime="podman"),
    _bare("systemd-wrong-signal", "/lib/systemd/systemd", options=_SYSTEMD),
    _bare("systemd-right-signal", "/lib/systemd/systemd", options=(*_SYSTEMD, *_signal("SIGRTMIN+3"))),
    _line("s6-svscan", "sh", "-c", f"mkdir /tmp/scan; {_READY}exec s6-svscan /tmp/scan", logs=False),
    _line("runit-runsvdir", "sh", "-c", f"mkdir /tmp/scan; {_READY}exec runsvdir /tmp/scan", logs=False),
    _line("node-listener", "node", "-e", _NODE_HEARS),
    _line("node-no-listener", "node", "-e", _NODE, logs=False),
    _bare("java", "java", "-Xmx32m", "/seen/A.java"),
    _bare("go-no-notify", "prometheus-node-exporter", "--web.listen-address=127.0.0.1:9100"),
    _bare("go-notify", "prometheus", "--config.file=/seen/prometheus.yml", "--storage.tsdb.path=/tmp/data"),
    _bare("perl", "perl", "-e", "sleep 600"),
    _bare("perl-handler", "perl", "-e", "$SIG{TERM} = sub { exit 0 }; sleep 600"),
    _bare("php", "php", "-r", "sleep(600);"),
    _bare("nginx-term", "nginx", "-c", "/seen/nginx.conf"),
    _bare("nginx-quit", "nginx", "-c", "/seen/nginx.conf", options=_signal("SIGQUIT")),
    _bare("haproxy-term", "haproxy", "-W", "-f", "/seen/haproxy.cfg"),
    _bare("haproxy-usr1", "haproxy", "-W", "-f", "/seen/haproxy.cfg", options=_signal("SIGUSR1")),
    _bare("tail", "tail", "-f", "/dev/null"),
    _app("stop-int-python", "default", options=_signal("SIGINT")),
    _app("stop-quit-handled", "handle", "3", options=_signal("SIGQUIT")),
    _app("stop-usr1-not-handled", "handle", options=_signal("SIGUSR1")),
    _app("stop-realtime-handled", "handle", "37", options=_signal("SIGRTMIN+3")),
    _bare("pause", "catatonit", "-P"),
    Case("shared-default", (*_PYTHON, "default"), beside="pause"),
    Case("shared-tini", ("tini", "--", *_PYTHON, "handle"), logs=True, beside="pause"),
)  # fmt: skip
