"""HAProxy: weights by its runtime API, which hold from the next request on, and in its configuration, which hold after a reload.

A reload drops runtime weights, so both are written, the configuration first; it is checked by ``haproxy -c`` before it is
put in place, and no reload is made. Weights are whole numbers from 0 to 256 (never "10%", which is of the configured one).
The runtime API is spoken through ``socat`` on HAProxy's own host.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, NamedTuple

from sretoolkit.clock import poll
from sretoolkit.errors import CommandFailed, ConfigError, HostError, PlanError
from sretoolkit.hosts.host import Host, host_of
from sretoolkit.plan import Context
from sretoolkit.rollout.router import SPLIT, WEIGHT, Router, Split

_MOST = 256
_SERVER = re.compile(r"^(?P<before>\s*server\s+(?P<name>\S+)\s.*?)(?:\s+weight\s+\d+)?(?P<after>\s*(?:#.*)?)$")
_SECTION = re.compile(r"^(?:global|defaults|frontend|backend|listen|userlist|peers|cache|resolvers|mailers|program)\b")


class Server(NamedTuple):
    """A server of the backend, as HAProxy has it: its weight in effect, and whether a person has taken it out."""

    name: str
    weight: int
    out: bool


@dataclass(frozen=True, kw_only=True)
class Haproxy(Router):
    """The servers of one backend; those whose name matches ``candidate`` (a regular expression) are the new version's.

    ``socket``: its stats socket, of level admin; ``config``: its configuration file, "" = a reload drops what is set here.
    Servers that get no more requests are waited for until they have answered those that they have, at most for ``drain``
    (a longer session, such as a websocket, goes on).
    """

    can: ClassVar[frozenset[str]] = frozenset({WEIGHT, SPLIT})

    socket: str
    backend: str
    candidate: str
    host: str = "localhost"
    config: str = ""
    drain: timedelta = timedelta(seconds=10)

    def __post_init__(self) -> None:
        try:
            re.compile(self.candidate)
        except re.error as error:
            raise ConfigError(
                f"candidate = {self.candidate!r} is no regular expression: {error}", hint="such as canary-.*"
            ) from error
        for name in (self.backend, self.socket, self.config):
            if any(character.isspace() or character in ";\"'" for character in name):
                raise ConfigError(
                    f"{name!r} cannot be the name of a backend, socket or file here", hint="take the spaces out"
                )

    @property
    def target(self) -> str:
        """``haproxy:HOST/BACKEND``."""
        return f"haproxy:{self.host}/{self.backend}"

    def check(self, ctx: Context) -> tuple[str, ...]:
        """Both sides have servers, and the configuration names them; what is not kept over a reload."""
        servers = self._servers(ctx)
        for side, found in (("new", self._ours(servers)), ("old", self._rest(servers))):
            if not found:
                names = ", ".join(server.name for server in servers)
                hint = f"it has: {names}; candidate = {self.candidate!r} tells the new ones"
                raise PlanError(
                    f"the backend {self.backend} has no server of the {side} version that is in use", hint=hint
                )
        if not self.config:
            return ("without config = FILE a reload of HAProxy drops the weights that are set here",)
        self._edited(ctx, {server.name: server.weight for server in servers})
        return ()

    def achieved(self, ctx: Context, percent: int) -> float:
        """What whole weights make of it."""
        servers = self._servers(ctx)
        ours, rest = weights(percent, len(self._ours(servers)), len(self._rest(servers)))
        return _share(ours * len(self._ours(servers)), rest * len(self._rest(servers)))

    def weight(self, ctx: Context) -> int:
        """From the weights in effect of the servers in use."""
        servers = self._servers(ctx)
        ours, rest = (sum(each.weight for each in side) for side in (self._ours(servers), self._rest(servers)))
        return round(_share(ours, rest))

    def set_weight(self, ctx: Context, percent: int) -> None:
        """The configuration first: whoever reloads in between brings the new weights about, not the old ones back."""
        servers = self._servers(ctx)
        found = self._ours(servers), self._rest(servers)
        ours, rest = weights(percent, len(found[0]), len(found[1]))
        if percent and not found[0]:
            raise HostError(
                f"{self.backend} has no server of the new version in use",
                host=self.host,
                hint="look at show servers state",
            )
        wanted = {server.name: ours for server in found[0]} | {server.name: rest for server in found[1]}
        if self.config:
            self._write(ctx, self._edited(ctx, wanted))
        # the side that grows first: at no moment have all servers the weight 0
        order = sorted(wanted, key=lambda name: wanted[name], reverse=True)
        said = self._ask(ctx, "; ".join(f"set server {self.backend}/{name} weight {wanted[name]}" for name in order))
        if said.strip():
            raise HostError(f"HAProxy on {self.host} does not take the weights: {said.strip()[:200]}", host=self.host)
        self._drain(ctx, {name for name, weight in wanted.items() if not weight})

    def settle(self, ctx: Context) -> None:
        """The file gets the weights in effect."""
        if self.config:
            text = self._edited(ctx, {server.name: server.weight for server in self._servers(ctx)})
            if text != self._on(ctx).read_text(self.config):
                self._write(ctx, text)

    def split(self, ctx: Context) -> Split:
        """Sessions that each side's servers got since HAProxy's process began."""
        told = {True: 0, False: 0}
        for name, row in self._counters(ctx).items():
            told[bool(re.fullmatch(self.candidate, name))] += int(row.get("stot") or 0)
        return Split(stable=told[False], candidate=told[True])

    def by_hand(self, percent: int) -> str:
        """The line for each server of the new version; the old ones need a weight above 0."""
        line = shlex.quote(f"set server {self.backend}/NAME weight {percent}")
        return f"on {self.host}, for each server NAME like {self.candidate}: echo {line} | socat - {self.socket}"

    # ------------------------------------------------------------------ its runtime API

    def _servers(self, ctx: Context) -> list[Server]:
        lines = self._ask(ctx, f"show servers state {self.backend}").splitlines()
        names = next((line.lstrip("# ").split() for line in lines if line.startswith("#")), [])
        if "srv_uweight" not in names:
            said = " ".join(lines)[:200]
            hint = "is that the name of a backend?"
            raise HostError(f"HAProxy on {self.host} has no backend {self.backend}: {said}", host=self.host, hint=hint)
        rows = [
            dict(zip(names, line.split(), strict=False))
            for line in lines
            if line and line[0].isdigit() and len(line.split()) > 5
        ]
        return [Server(row["srv_name"], int(row["srv_uweight"]), int(row["srv_admin_state"]) != 0) for row in rows]

    def _counters(self, ctx: Context) -> dict[str, dict[str, str]]:
        """What HAProxy counts of each server."""
        lines = self._ask(ctx, "show stat").splitlines()
        names = lines[0].lstrip("# ").split(",") if lines else []
        rows = [dict(zip(names, line.split(","), strict=False)) for line in lines[1:] if line]
        mine = [row for row in rows if row.get("pxname") == self.backend]
        return {row["svname"]: row for row in mine if row["svname"] not in ("BACKEND", "FRONTEND")}

    def _drain(self, ctx: Context, names: set[str]) -> None:
        def answered() -> bool:
            return not any(int(row.get("scur") or 0) for name, row in self._counters(ctx).items() if name in names)

        poll(answered, timeout=min(self.drain.total_seconds(), ctx.remaining() / 2), clock=ctx.clock)

    def _ours(self, servers: list[Server]) -> list[Server]:
        return [each for each in servers if not each.out and re.fullmatch(self.candidate, each.name)]

    def _rest(self, servers: list[Server]) -> list[Server]:
        return [each for each in servers if not each.out and not re.fullmatch(self.candidate, each.name)]

    def _ask(self, ctx: Context, command: str) -> str:
        """What the runtime API answers."""
        spoken = ["socat", "-t", "5", "-", f"UNIX-CONNECT:{self.socket}"]
        try:
            return self._on(ctx).run(spoken, input=f"{command}\n", timeout=min(20, ctx.remaining())).stdout
        except CommandFailed as error:
            told = error.result.stderr.strip()[-200:]
            hint = (
                "apt-get install socat there"
                if "not found" in told
                else "is HAProxy running, and may this user use its socket?"
            )
            raise HostError(
                f"HAProxy's socket {self.socket} on {self.host}: {told}", host=self.host, hint=hint
            ) from error

    def _on(self, ctx: Context) -> Host:
        return host_of(ctx, self.host)

    # ------------------------------------------------------------------ its configuration

    def _edited(self, ctx: Context, wanted: dict[str, int]) -> str:
        """The configuration with these weights; raises `HostError` when it does not name every server."""
        lines = self._on(ctx).read_text(self.config).splitlines(keepends=True)
        inside, left = False, dict(wanted)
        for number, line in enumerate(lines):
            if _SECTION.match(line):
                inside = line.split()[:2] in (["backend", self.backend], ["listen", self.backend])
            found = _SERVER.match(line.rstrip("\n")) if inside else None
            if found and found["name"] in left:
                lines[number] = f"{found['before'].rstrip()} weight {left.pop(found['name'])}{found['after']}\n"
        if left:
            what = f"{self.config} on {self.host} has no line of its own for {', '.join(sorted(left))} in backend {self.backend}"
            raise HostError(
                what, host=self.host, hint="write each server out (no server-template), or leave config out"
            )
        return "".join(lines)

    def _write(self, ctx: Context, text: str) -> None:
        """Beside it, checked, then in its place at once; owner and mode stay."""
        host, beside = self._on(ctx), f"{self.config}.sretoolkit"
        host.write(beside, text)
        try:
            host.run(["haproxy", "-c", "-q", "-f", beside], timeout=ctx.remaining())
        except CommandFailed as error:
            told = error.result.stderr.strip()[-300:]
            what = f"HAProxy does not take {self.config} with other weights: {told}"
            raise HostError(what, host=self.host, hint="mend the file first; it is as it was") from error
        finally:
            host.run(["rm", "-f", beside], timeout=30, check=False)
        host.write(self.config, text)


def weights(percent: int, ours: int, rest: int) -> tuple[int, int]:
    """A weight for each new and each old server, by which the share comes nearest to ``percent``."""
    if percent <= 0 or not ours:
        return 0, 100
    if percent >= 100 or not rest:
        return 100, 0
    share = percent / 100

    def off(pair: tuple[int, int]) -> tuple[float, int]:
        return abs(_share(pair[0] * ours, pair[1] * rest) - percent), pair[0] + pair[1]

    pairs = [(round(share * rest * old / (ours * (1 - share))), old) for old in range(1, _MOST + 1)]
    return min((pair for pair in pairs if 1 <= pair[0] <= _MOST), key=off, default=(_MOST, 1))


def _share(ours: int, rest: int) -> float:
    return 100 * ours / (ours + rest) if ours + rest else 0.0
