"""One container with a known way to take its stop signal; the programs and files that such containers are made of."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

Half = Literal["build", "known", "held back"]
GRACE = 3  # seconds, of docker stop
TERM = "SIGTERM"

SHUT = 0.3  # seconds that a program takes to shut down: one that is killed before is cut off
# Logs what it is told in /seen, as far as it is asked to; the words are what it does with its stop signal.
APP = (
    f"SHUT = {SHUT}"
    """
import os, signal, sys, time
from ctypes import CDLL, create_string_buffer
words = sys.argv[1:]
which = next((int(w) for w in words if w.isdigit()), signal.SIGTERM)
def mark(name):  # a clone may only read what its container can write
    try: open("/seen/" + name, "w").close()
    except OSError: pass
def shut(): mark("told"); time.sleep(SHUT); mark("done")
def told(*_):
    if "noop" in words: return mark("told")
    shut(); sys.exit(0)
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
        for pid in workers: os.kill(pid, signal.SIGTERM)
        shut()
        os._exit(0)
    signal.signal(which, stop); ready()
    while True:
        try: os.wait()
        except ChildProcessError: time.sleep(600)
if "signalfd" in words:
    libc = CDLL(None, use_errno=True); chosen = create_string_buffer(128)
    libc.sigemptyset(chosen); libc.sigaddset(chosen, int(which)); fd = libc.signalfd(-1, chosen, 0)
    ready(); os.read(fd, 128); told(); sys.exit(0)
if "asyncio" in words:
    import asyncio
    async def main():
        stopped = asyncio.Event(); asyncio.get_running_loop().add_signal_handler(which, stopped.set)
        ready(); await stopped.wait(); shut()
    asyncio.run(main()); sys.exit(0)
if "thread" in words:
    import threading
    mask(); threading.Thread(target=lambda: (signal.sigwait([which]), shut(), os._exit(0))).start()
ready()
if "sigwait" in words:
    signal.sigwait([which]); told(); sys.exit(0)
while True: time.sleep(600)
"""
)
PYTHON = ("python3", "/seen/app.py")
LINE = "python3 /seen/app.py"
NODE_MARKS = "const mark=n=>{try{require('fs').writeFileSync('/seen/'+n,'')}catch{}};"
TMPFS = ("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp")
READY = "touch /seen/ready; "
BEHIND = f"{LINE} handle; true"


@dataclass(frozen=True)
class Case:
    """One container; ``logs``: its program would leave marks when it is told; ``ready``: it leaves one when it runs.

    ``beside``: the case whose PID namespace it shares; ``runtime`` the program that runs it; ``series`` 1 are the cases of the
    first score, 2 those that were written before the rules were mended after it.
    """

    name: str
    command: tuple[str, ...]
    options: tuple[str, ...] = ()
    logs: bool = False
    ready: bool = True
    runtime: Literal["docker", "podman"] = "docker"
    beside: str = ""
    series: int = 1

    @property
    def half(self) -> Half:
        """Of the first series by the name alone: those that it held back are known since; all of the second are held back."""
        if self.series > 1:
            return "held back"
        return "known" if sha256(self.name.encode()).digest()[0] & 1 else "build"


def app(name: str, *words: str, before: tuple[str, ...] = (), options: tuple[str, ...] = ()) -> Case:
    """The program itself, behind what stands ``before`` it."""
    logs = bool({"handle", "noop", "sigwait", "signalfd", "prefork", "asyncio", "thread"} & set(words))
    return Case(name, (*before, *PYTHON, *words), options, logs)


def line(name: str, *command: str, options: tuple[str, ...] = (), logs: bool = True) -> Case:
    """Any command that leaves marks."""
    return Case(name, command, options, logs)


def bare(name: str, *command: str, options: tuple[str, ...] = ()) -> Case:
    """Any command that leaves none: it is seen to end, or not."""
    return Case(name, command, options, ready=False)


def signal(name: str) -> tuple[str, ...]:
    """The option for another stop signal."""
    return ("--stop-signal", name)
