"""A host: run a command, read a file, write a file, know its platform; the same on this machine and far away."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Self

from sretoolkit.config import Config
from sretoolkit.errors import CommandFailed, HostError, Unreachable
from sretoolkit.hosts.connection import Connection, open_connection
from sretoolkit.hosts.endpoint import Endpoint, resolve
from sretoolkit.hosts.platform import Platform, platform_of
from sretoolkit.hosts.result import OUTPUT_LIMIT, Output, Result
from sretoolkit.plan.context import Context

_FILE_TIMEOUT = 60.0
_SHOWN = 200  # characters of a command in an error message

# Complete or not at all: the size is checked before the rename, since a cut connection looks like the end of the data.
_WRITE = """set -e
f=$(readlink -f -- "$1" 2>/dev/null || printf %s "$1")
t=$(mktemp "$(dirname -- "$f")/.sretoolkit.XXXXXX")
trap 'rm -f -- "$t"' EXIT
cat > "$t"
[ "$(wc -c < "$t")" -eq "$2" ] || { echo "only part of the data arrived; the file is as it was" >&2; exit 1; }
mode=$3
if [ -e "$f" ]; then
  chown "$(stat -c %u:%g -- "$f")" "$t"
  [ -n "$mode" ] || mode=$(stat -c %a -- "$f")
fi
chmod "${mode:-644}" "$t"
sync "$t" 2>/dev/null || :
mv -f -- "$t" "$f"
trap - EXIT"""


class Host:
    """One host: opens its connection at the first command, is safe in several threads, closes as a context."""

    def __init__(self, endpoint: Endpoint, connection: Connection) -> None:
        self.name = endpoint.name
        self.endpoint = endpoint
        self.connection = connection

    def run(
        self,
        command: Sequence[str] | str,
        *,
        timeout: float,
        check: bool = True,
        input: bytes | str | None = None,
    ) -> Result:
        """Run a list of arguments (quoted for you) or a shell command line (POSIX sh), for at most ``timeout`` seconds.

        Raises `CommandFailed` on an exit code other than 0 (unless ``check`` is off) and when the time is over,
        `Unreachable` when the connection is not there or was cut, `HostError` when the host refuses us.
        """
        line = command if isinstance(command, str) else shlex.join(command)
        data = input.encode() if isinstance(input, str) else input or b""
        return self._complete(line, timeout, data, check)[0]

    def read(self, path: str) -> bytes:
        """The content of a file; raises `CommandFailed` when it cannot be read, `HostError` when it is too large."""
        result, output = self._complete(shlex.join(["cat", "--", path]), _FILE_TIMEOUT, b"", check=True)
        if result.truncated:
            what = f"{self.name}: {path} did not arrive whole: it is larger than {OUTPUT_LIMIT} bytes, or the line too slow"
            raise HostError(what, host=self.name, hint="copy it otherwise")
        return output.stdout

    def read_text(self, path: str) -> str:
        r"""The content of a UTF-8 text file; bytes that are none appear as ``\xNN``."""
        return self.read(path).decode("utf-8", "backslashreplace")

    def write(self, path: str, data: bytes | str, *, mode: int | None = None) -> None:
        """Replace a file at once: readers see the old content or the new. An existing file keeps owner and mode.

        Raises `CommandFailed` (the file is as it was); a connection cut during it leaves the old content or the new.
        """
        content = data.encode() if isinstance(data, str) else data
        argv = ["sh", "-c", _WRITE, "sh", path, str(len(content)), "" if mode is None else f"{mode:o}"]
        self.run(argv, timeout=_FILE_TIMEOUT, input=content)

    @cached_property
    def platform(self) -> Platform:
        """The operating system's plug-in, chosen by ``uname -s``; raises `UnknownPlugin` for one nobody has written."""
        return platform_of(self.run(["uname", "-s"], timeout=30).stdout.strip(), self)

    def by_hand(self, command: Sequence[str]) -> str:
        """What a person types into a terminal here to run that command there."""
        return self.connection.by_hand(shlex.join([*self._prefix, *command]))

    def close(self) -> None:
        """Close the connection; a later command opens it again."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Host({self.name!r})"

    @property
    def _prefix(self) -> list[str]:
        netns = self.endpoint.netns
        return ["ip", "netns", "exec", netns] if netns else []

    def _complete(self, line: str, timeout: float, data: bytes, check: bool) -> tuple[Result, Output]:
        inside = shlex.join([*self._prefix, "sh", "-c", line]) if self._prefix else line
        started = time.monotonic()
        output = self.connection.execute(inside, timeout=timeout, data=data)
        elapsed = time.monotonic() - started
        out, err = (stream.decode("utf-8", "backslashreplace") for stream in (output.stdout, output.stderr))
        code = 124 if output.exit_code is None else output.exit_code
        result = Result(code, out, err, elapsed, self.name, line, output.truncated)
        if output.exit_code is None:
            raise self._too_slow(result, timeout, killed=output.killed)
        if self._prefix and code and "network namespace" in err:
            raise self._no_netns(err)
        if check and code:
            raise self._failed(result)
        return result, output

    def _failed(self, result: Result) -> CommandFailed:
        said = (result.stderr.strip() or result.stdout.strip()).splitlines()[-1:]
        what = f"{_short(result.command)} ended with exit code {result.exit_code}"
        return CommandFailed(
            f"{self.name}: {': '.join([what, *said])}",
            host=self.name,
            result=result,
            hint="the error's .result holds the whole output",
        )

    def _too_slow(self, result: Result, timeout: float, *, killed: bool) -> HostError:
        what = f"{self.name}: {_short(result.command)} took longer than {timeout:g} s"
        if not killed:
            what += " and could not be killed: it is in doubt, it may still run"
            return Unreachable(what, host=self.name, hint="look at the host before you do it again")
        hint = "give it a longer timeout, or see what it waits for; .result holds the output so far"
        return CommandFailed(f"{what} and was killed", host=self.name, result=result, hint=hint)

    def _no_netns(self, said: str) -> HostError:
        hint = f"the configuration names {self.endpoint.netns!r}; see ip netns list; entering one needs root"
        return HostError(f"{self.name}: {said.strip()}", host=self.name, hint=hint)


def connect(name: str, config: Config | None = None) -> Host:
    """The host of that name: "localhost", a table [hosts.NAME] of the configuration, or "ssh://user@address:port".

    Nothing is opened before the first command. Raises `ConfigError` for a name or an option that is not known.
    """
    config = config or Config.load()
    endpoint = resolve(name, config)
    return Host(endpoint, open_connection(endpoint, config))


def host_of(ctx: Context, name: str) -> Host:
    """The same for a running step: one connection a host, shared by the steps of a plan and closed at its end."""
    return ctx.use(("host", name), lambda: connect(name, ctx.config))


def _short(command: str) -> str:
    line = " ".join(command.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 3] + "..."
