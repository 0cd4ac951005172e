"""nginx (the free one): its shares live in a generated file that its configuration includes, and a reload puts them in effect.

The file holds a `split_clients` of whole percents and a port of the loopback interface on which nginx itself says which share
its workers go by; what is only written, or was tested but not reloaded, does not count as set. The old file is put back when
``nginx -t`` does not take the new one. A reload ends the connections that clients keep: who is just sending on one gets no
answer to that request and has to send it again; `check` says so. Requests that are under way are answered.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sretoolkit.clock import poll
from sretoolkit.errors import CommandFailed, ConfigError, HostError, PlanError
from sretoolkit.hosts.host import Host, host_of
from sretoolkit.plan import Context
from sretoolkit.rollout.router import MATCH, SPLIT, WEIGHT, Router, Split
from sretoolkit.rollout.routers._nginx_text import uncounted

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UPSTREAM = re.compile(r"[\w.:\[\]-]+")
_PATH = re.compile(r"/[\w./+-]+")
_VALUE = re.compile(r"[\w.:+/=@-]+")
_KEY = re.compile(r"(?:\$\{?\w+\}?|[\w.-])+")
_RELOADED = timedelta(seconds=20)
_NOTE = (
    "each change of the share reloads nginx, which ends the connections that clients keep: who is just sending on one must "
    "send that request again; what is under way is answered"
)
# The workers of the master whose worker answered: pid and title of each.
_WORKERS = 'ps -o pid=,args= --ppid "$(ps -o ppid= -p "$1" | tr -d " ")"'
_COUNT = 'for name; do cat -- "$0" 2>/dev/null | grep -cxF -- "$name" || :; done'


@dataclass(frozen=True, kw_only=True)
class Nginx(Router):
    """One variable of nginx, ``$NAME``, that is the upstream ``stable`` or ``candidate`` for each request.

    The configuration has ``include FILE;`` among its http directives, both upstreams, and ``proxy_pass http://$NAME;``.
    ``port``: of the loopback interface, on which nginx tells the share in effect; ``key``: what is shared out, by default
    each request, ``$remote_addr`` keeps a client on one side; ``log``: a file in which nginx counts the requests of each side
    while the candidate has a share ("" = it does not count); ``command``: the program with the options that name another
    configuration; ``reload``: how to reload, by default its own ``-s reload``; ``drain``: how long the workers from before are
    waited for once one side gets nothing more.
    """

    name: str
    stable: str
    candidate: str
    file: str
    port: int
    host: str = "localhost"
    key: str = "$request_id"
    log: str = ""
    command: tuple[str, ...] = ("nginx",)
    reload: tuple[str, ...] = ()
    drain: timedelta = timedelta(seconds=10)

    def __post_init__(self) -> None:
        wanted = (
            (_NAME, self.name, "name", "such as shop"),
            (_UPSTREAM, self.stable, "stable", "the name of an upstream"),
            (_UPSTREAM, self.candidate, "candidate", "the name of an upstream"),
            (_PATH, self.file, "file", "such as /etc/nginx/conf.d/shop-share.conf"),
            (_PATH, self.log or "/-", "log", "such as /var/log/nginx/shop-share.log"),
            (_KEY, self.key, "key", "such as $request_id or $remote_addr"),
        )
        for pattern, value, what, hint in wanted:
            if not pattern.fullmatch(value):
                raise ConfigError(f"{what} = {value!r} cannot stand in nginx's configuration", hint=hint)
        if self.stable == self.candidate or not 0 < self.port < 65536 or not self.command:
            raise ConfigError("two upstreams, a port, and a command are needed", hint="see docs/rollouts.md")

    @property
    def can(self) -> frozenset[str]:  # type: ignore[override]
        """The split where it is told to count."""
        return frozenset({WEIGHT, MATCH} | ({SPLIT} if self.log else set()))

    @property
    def target(self) -> str:
        """``nginx:HOST/NAME``."""
        return f"nginx:{self.host}/{self.name}"

    def check(self, ctx: Context) -> tuple[str, ...]:
        """Nginx takes its configuration, goes by our file, and passes requests on by it; what a reload costs."""
        self._in_effect(ctx)
        told = self._nginx(ctx, "-T")
        for what, there in (
            (f"a proxy_pass to ${self.name}", re.search(rf"_pass\s[^;]*\$\{{?{self.name}\b", told)),
            (f"the file {self.file}", f"# configuration file {self.file}:" in told),
        ):
            if not there:
                hint = f"include {self.file}; among the http directives, and proxy_pass http://${self.name}; where it serves"
                raise PlanError(f"the configuration of nginx on {self.host} has not {what}", hint=hint)
        if not self.log:
            return (
                _NOTE,
                f"nginx counts no requests of {self.name}: give log = FILE, so that the split is seen to come about",
            )
        if uncounted(told.replace(self._on(ctx).read_text(self.file), ""), f"${self.name}"):
            what = f"nginx on {self.host} has another access_log where it passes {self.name} on: nothing comes to {self.log}"
            raise PlanError(
                what, hint="let the http block alone have one, and none be off; or leave log out: no split is seen then"
            )
        return (_NOTE,)

    def weight(self, ctx: Context) -> int:
        """What its workers go by; a share that a person has written into the file alone is told as it stands there."""
        told = self._in_effect(ctx)
        text = self._on(ctx).read_text(self.file)
        told_by_file = re.search(rf'return 200 \'{{"{self.name}": (\d+)', text)
        if told_by_file and int(told_by_file[1]) != (written := self._split(text)):
            return written
        return int(told[self.name])

    def set_weight(self, ctx: Context, percent: int) -> None:
        """Written, tested, reloaded, and seen in effect; what is so already is not reloaded again."""
        self._make(ctx, percent, self._in_effect(ctx)["match"])

    def match(self, ctx: Context) -> Mapping[str, str] | None:
        """What its workers go by."""
        found: dict[str, str] | None = self._in_effect(ctx)["match"]
        return found

    def set_match(self, ctx: Context, match: Mapping[str, str] | None) -> None:
        """Like a share."""
        self._make(ctx, self.weight(ctx), dict(match) if match else None)

    def settle(self, ctx: Context) -> None:
        """The file gets what its workers go by; nothing is reloaded."""
        now = self._in_effect(ctx)
        old, text = self._on(ctx).read_text(self.file), self.text(now[self.name], now["match"])
        if old != text:
            self._write(ctx, old, text)

    def split(self, ctx: Context) -> Split:
        """Lines of the log, which is begun anew with each rollout."""
        if not self.log:
            raise self.cannot(SPLIT)
        command = ["sh", "-c", _COUNT, self.log, self.stable, self.candidate]
        stable, candidate = self._run(ctx, command).split()
        return Split(stable=int(stable), candidate=int(candidate))

    def by_hand(self, percent: int) -> str:
        """The whole file, tested before it is reloaded."""
        lines = shlex.join(self.text(percent).splitlines())
        test, reload = shlex.join([*self.command, "-t"]), shlex.join(self._reload)
        return f"on {self.host}: printf '%s\\n' {lines} > {self.file} && {test} && {reload}"

    def text(self, percent: int, match: Mapping[str, str] | None = None) -> str:
        """The generated file with that share. Raises `PlanError` for a header or cookie that nginx cannot be told of."""
        shares = "" if percent in (0, 100) else f"{percent}% {self.candidate}; "
        rest = self.candidate if percent == 100 else self.stable
        chosen = f"{self.name}_share" if match else self.name
        lines = [
            f"# How sretoolkit shares out the requests of {self.name}; it is written anew at each step of a rollout.",
            f'split_clients "{self.key}" ${chosen} {{ {shares}* {rest}; }}',
        ]
        if match:
            variable, value = _variable(match)
            lines.append(f'map {variable} ${self.name} {{ "{value}" {self.candidate}; default ${chosen}; }}')
        if self.log and (percent or match):
            lines.append(f"log_format {self.name}_share ${self.name};")
            lines.append(f"access_log {self.log} {self.name}_share if=$upstream_addr;")
        told = json.dumps({self.name: percent, "match": dict(match) if match else None, "pid": "$pid"})
        answers = f"default_type application/json; access_log off; return 200 '{told}';"
        lines.append(f"server {{ listen 127.0.0.1:{self.port}; server_name _; {answers} }}")
        return "\n".join(lines) + "\n"

    def _split(self, text: str) -> int:
        """The share as the file's own line of split_clients says it."""
        found = re.search(r"^split_clients .*\{ (?:(\d+)% \S+; )?\* (\S+); \}$", text, re.MULTILINE)
        if not found:
            hint = f"to begin with it holds:\n{self.text(0)}"
            raise HostError(f"{self.file} on {self.host} is not what this router writes", host=self.host, hint=hint)
        return int(found[1]) if found[1] else 100 * (found[2] == self.candidate)

    # ------------------------------------------------------------------ nginx itself

    def _make(self, ctx: Context, percent: int, match: dict[str, str] | None) -> None:
        text = self.text(percent, match)
        now = self._in_effect(ctx)
        old = self._on(ctx).read_text(self.file)
        if old == text and (now[self.name], now["match"]) == (percent, match):
            return
        before = self._serving(ctx, now["pid"])
        if self.log and not now[self.name] and not now["match"]:
            self._run(ctx, ["rm", "-f", "--", self.log])
        self._write(ctx, old, text)
        self._run(ctx, list(self._reload))

        def done() -> bool:
            told = self._in_effect(ctx)
            return (told[self.name], told["match"]) == (percent, match) and not before & self._serving(ctx, told["pid"])

        if not poll(done, timeout=min(_RELOADED.total_seconds(), ctx.remaining()), clock=ctx.clock):
            what = f"nginx on {self.host} was reloaded, and its workers do not go by {percent} % for {self.name}"
            raise HostError(what, host=self.host, hint="look at its error log")
        if percent in (0, 100):
            wait = min(self.drain.total_seconds(), ctx.remaining() / 2)
            poll(
                lambda: not before & self._alive(ctx, self._in_effect(ctx)["pid"]).keys(), timeout=wait, clock=ctx.clock
            )

    def _write(self, ctx: Context, old: str, text: str) -> None:
        """In its place only if nginx takes it there, else the old one again."""
        host = self._on(ctx)
        host.write(self.file, text)
        try:
            self._nginx(ctx, "-t")
        except HostError:
            host.write(self.file, old)
            raise

    def _in_effect(self, ctx: Context) -> dict[str, Any]:
        """What a worker goes by: the share, the match, and its own pid."""
        asked = ["curl", "-sS", "--noproxy", "*", "--max-time", "5", f"http://127.0.0.1:{self.port}/"]
        try:
            told = json.loads(self._on(ctx).run(asked, timeout=min(20, ctx.remaining())).stdout)
            return {self.name: int(told[self.name]), "match": told["match"], "pid": str(int(told["pid"]))}
        except CommandFailed as error:
            said = error.result.stderr.strip()[-200:]
        except (ValueError, KeyError, TypeError):
            said = "what answers there is not the file of this router"
        hint = f"is curl there, is nginx running, and does it include {self.file}? To begin with that holds:\n{self.text(0)}"
        raise HostError(
            f"nginx on {self.host} does not tell its share of {self.name}: {said}", host=self.host, hint=hint
        )

    def _alive(self, ctx: Context, pid: str) -> dict[str, str]:
        lines = self._run(ctx, ["sh", "-c", _WORKERS, "sh", pid]).splitlines()
        found = dict(line.split(maxsplit=1) for line in lines if " " in line.strip())
        return {pid: title for pid, title in found.items() if "worker process" in title}

    def _serving(self, ctx: Context, pid: str) -> set[str]:
        """The workers that take new requests."""
        return {pid for pid, title in self._alive(ctx, pid).items() if "shutting down" not in title}

    def _nginx(self, ctx: Context, *options: str) -> str:
        try:
            return self._run(ctx, [*self.command, *options])
        except CommandFailed as error:
            told = error.result.stderr.strip()[-300:]
            what = f"nginx on {self.host} does not take its configuration: {told}"
            raise HostError(what, host=self.host, hint=f"mend it first; {self.file} is as it was") from error

    def _run(self, ctx: Context, command: list[str]) -> str:
        return self._on(ctx).run(command, timeout=min(30, ctx.remaining())).stdout

    @property
    def _reload(self) -> tuple[str, ...]:
        return self.reload or (*self.command, "-s", "reload")

    def _on(self, ctx: Context) -> Host:
        return host_of(ctx, self.host)


def _variable(match: Mapping[str, str]) -> tuple[str, str]:
    kind = "cookie" if "cookie" in match else "header"
    name, value = match.get(kind, ""), match.get("value", "")
    if not re.fullmatch(r"[A-Za-z0-9-]+" if kind == "header" else r"\w+", name) or not _VALUE.fullmatch(value):
        raise PlanError(f"nginx cannot be told of {dict(match)}", hint='such as {header = "X-Canary", value = "yes"}')
    return f"$http_{name.lower().replace('-', '_')}" if kind == "header" else f"$cookie_{name}", value
