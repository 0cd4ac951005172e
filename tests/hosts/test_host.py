"""What a host makes of a connection's answers."""

from __future__ import annotations

import pytest

from sretoolkit.config import Config
from sretoolkit.errors import CommandFailed, ConfigError, HostError, UnknownPlugin, Unreachable
from sretoolkit.hosts import connect
from sretoolkit.hosts.connections import local
from sretoolkit.hosts.result import Output, Sink
from tests.hosts.scripted import commands, scripted


def test_a_namespace_is_entered_for_every_command() -> None:
    """A host with a network namespace runs all it runs inside it, and says so by hand too."""
    host = scripted({"ip netns exec blue": "inside\n"}, netns="blue")
    assert host.run("echo 'a b' | cat", timeout=5).stdout == "inside\n"
    assert commands(host) == ["""ip netns exec blue sh -c 'echo '"'"'a b'"'"' | cat'"""]
    assert host.by_hand(["sysctl", "-w", "a=b"]) == "ssh web ip netns exec blue sysctl -w a=b"


def test_a_namespace_that_is_not_there_is_no_failure_of_the_command() -> None:
    """The error names the namespace and what to look at."""
    missing = Output(1, b"", b'Cannot open network namespace "blue": No such file or directory\n')
    with pytest.raises(HostError, match="Cannot open network namespace") as caught:
        scripted({"netns": missing}, netns="blue").run("true", timeout=5, check=False)
    assert not isinstance(caught.value, CommandFailed)
    assert "ip netns list" in caught.value.hint


def test_a_timeout_whose_command_may_still_run_is_in_doubt() -> None:
    """When the command could not be killed nobody may believe that it is gone."""
    host = scripted({"long": Output(None, b"", b"", killed=False)})
    with pytest.raises(Unreachable, match="in doubt, it may still run"):
        host.run("long", timeout=1)


def test_a_file_beyond_the_limit_is_refused() -> None:
    """A truncated file is never returned as if it were whole."""
    host = scripted({"cat": Output(0, b"begin", b"", truncated=True)})
    with pytest.raises(HostError, match="is larger than"):
        host.read("/var/log/huge")


def test_output_beyond_the_limit_is_dropped_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that prints too much is not held up; its result says that it is not whole."""
    monkeypatch.setattr(local, "OUTPUT_LIMIT", 1000)
    result = connect("localhost", Config()).run(
        "head -c 500000 /dev/zero | tr '\\0' x; exit 4", timeout=20, check=False
    )
    assert (len(result.stdout), result.truncated, result.exit_code) == (1000, True, 4)


def test_a_sink_keeps_what_fits() -> None:
    """A chunk that exceeds the limit is cut at it."""
    sink = Sink(5)
    for chunk in (b"abc", b"defg", b"h"):
        sink.feed(chunk)
    assert (sink.bytes(), sink.truncated) == (b"abcde", True)


def test_a_write_that_arrives_in_part_changes_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """When the data ends early, as it does when a connection is cut, the old file stays."""
    folder = tmp_path_factory.mktemp("write")
    path = folder / "file"
    path.write_text("old")
    host = scripted({})
    with pytest.raises(CommandFailed):
        host.write(str(path), "a longer text")
    with pytest.raises(CommandFailed, match="only part of the data"):
        connect("localhost", Config()).run(commands(host)[0], timeout=20, input="a long")
    assert (path.read_text(), [each.name for each in folder.iterdir()]) == ("old", ["file"])


def test_a_platform_nobody_wrote_is_unknown() -> None:
    """The error says which ones there are."""
    with pytest.raises(UnknownPlugin, match="no platform named 'plan9'; there are: linux"):
        _ = scripted({"uname -s": "Plan9\n"}).platform


def test_long_commands_are_cut_in_messages() -> None:
    """An error message stays readable; the result has the whole command."""
    with pytest.raises(CommandFailed) as caught:
        scripted({}).run(["false", "x" * 5000], timeout=5)
    assert len(caught.value.message) < 400
    assert len(caught.value.result.command) > 5000


@pytest.mark.parametrize("key", ["../../etc/passwd", "kernel", "net..x", "net.ipv4.conf.all/../../x", "net.a b", ""])
def test_a_kernel_setting_is_a_name_and_no_path(key: str) -> None:
    """Nothing outside /proc/sys can be named."""
    with pytest.raises(ConfigError, match="is no kernel setting"):
        scripted({}).platform.sysctls([key])


def test_a_slash_in_a_setting_stands_for_a_dot_in_a_name() -> None:
    """As sysctl(8) has it for interfaces with a dot."""
    path = "/proc/sys/net/ipv4/conf/eth0.100/forwarding"
    host = scripted({path: f"{path}:1\n"})
    assert host.platform.sysctls(["net.ipv4.conf.eth0/100.forwarding"]) == {"net.ipv4.conf.eth0/100.forwarding": "1"}
