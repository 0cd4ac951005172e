"""What every connection plug-in must do; a test class of each plug-in inherits it and gives a ``host`` fixture.

The host must be this machine (loopback), so that the suite can see from outside what a command leaves behind.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sretoolkit.clock import poll
from sretoolkit.errors import CommandFailed
from sretoolkit.hosts import Host


class ConnectionContract:
    """Inherit it as ``class TestX(ConnectionContract)`` beside a fixture ``host``."""

    def test_a_list_of_arguments_arrives_as_it_is(self, host: Host) -> None:
        """Spaces, quotes, dollars, newlines and an empty argument are data, never syntax."""
        arguments = ["a b", "$HOME", "it's", '"', "", "new\nline", "*", "; false", "ü"]
        assert host.run(["printf", "<%s>", *arguments], timeout=20).stdout == "".join(f"<{text}>" for text in arguments)

    def test_a_string_is_a_shell_command_line(self, host: Host) -> None:
        """A string may use pipes and variables of a POSIX shell."""
        assert host.run("x=5; echo $x | tr 5 6", timeout=20).stdout == "6\n"

    def test_exit_code_and_both_streams_are_kept_apart(self, host: Host) -> None:
        """The result has the exit code, stdout, stderr, the time it took, the host and the command."""
        result = host.run("echo out; echo err >&2; exit 3", timeout=20, check=False)
        assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")
        assert (result.ok, result.host, result.command) == (False, host.name, "echo out; echo err >&2; exit 3")
        assert 0 < result.elapsed < 20

    def test_failure_raises_with_the_result(self, host: Host) -> None:
        """A checked command that fails raises CommandFailed, which names the host, the code and the last word."""
        with pytest.raises(CommandFailed, match="exit code 7: no such luck") as caught:
            host.run("echo no such luck >&2; exit 7", timeout=20)
        assert (caught.value.host, caught.value.result.exit_code) == (host.name, 7)

    def test_death_by_a_signal_is_128_and_its_number(self, host: Host) -> None:
        """A command that is killed has the exit code that a shell would show."""
        assert host.run("kill -KILL $$", timeout=20, check=False).exit_code == 137

    def test_input_is_fed_and_ended(self, host: Host) -> None:
        """Megabytes of any bytes go in and come out, and the command sees the end of them."""
        data = bytes(range(256)) * 8192
        assert host.run("cksum", timeout=30, input=data).stdout.split()[1] == str(len(data))

    def test_a_command_that_reads_no_input_is_no_failure(self, host: Host) -> None:
        """Input that nobody reads is dropped."""
        assert host.run("exec 0<&-; echo done", timeout=20, input=b"x" * 1_000_000).stdout == "done\n"

    def test_without_input_stdin_is_at_its_end(self, host: Host) -> None:
        """A command that reads stdin does not hang when there is none."""
        assert host.run("cat; echo end", timeout=20).stdout == "end\n"

    def test_large_output_of_both_streams_does_not_block(self, host: Host) -> None:
        """Output far beyond any pipe buffer arrives whole."""
        line = "head -c 3000000 /dev/zero | tr '\\0' x"
        result = host.run(f"{line}; {line} >&2", timeout=60)
        assert (len(result.stdout), len(result.stderr)) == (3_000_000, 3_000_000)

    def test_bytes_that_are_no_text_are_shown(self, host: Host) -> None:
        """Output that is not UTF-8 is escaped, not lost and no error."""
        assert host.run(["printf", r"a\377b"], timeout=20).stdout == "a\\xffb"

    def test_at_the_deadline_the_command_and_its_children_are_killed(self, host: Host, tmp_path: Path) -> None:
        """A command that is too slow raises with its output so far, and nothing of it is left."""
        pids = tmp_path / "pids"
        began = time.monotonic()
        with pytest.raises(CommandFailed, match="and was killed") as caught:
            host.run(f"echo $$ >{pids}; sleep 300 & echo $! >>{pids}; echo begun; wait", timeout=1.5)
        assert time.monotonic() - began < 15
        assert (caught.value.result.exit_code, caught.value.result.stdout) == (124, "begun\n")
        left = [int(pid) for pid in pids.read_text().split()]
        assert len(left) == 2
        assert poll(lambda: not any(_running(pid) for pid in left), timeout=10)

    def test_a_background_child_does_not_hold_the_command_up(self, host: Host) -> None:
        """A command that leaves a daemon behind returns with its own output, although the daemon keeps the streams."""
        result = host.run("sleep 30 & echo $!", timeout=25)
        os.kill(int(result.stdout), 9)
        assert result.elapsed < 15

    def test_many_threads_share_one_host(self, host: Host) -> None:
        """Twenty commands at once get each its own answer."""
        with ThreadPoolExecutor(20) as threads:
            results = threads.map(lambda i: host.run(f"echo {i}; sleep 0.05", timeout=60).stdout, range(20))
        assert [int(text) for text in results] == list(range(20))

    def test_a_closed_host_opens_again(self, host: Host) -> None:
        """close() is no end: the next command opens the connection anew."""
        host.run("true", timeout=20)
        host.close()
        assert host.run("echo again", timeout=20).stdout == "again\n"

    def test_files_are_written_and_read_as_bytes(self, host: Host, tmp_path: Path) -> None:
        """What is written is what is read, whatever bytes it has and however the file is called."""
        path, data = str(tmp_path / "-a b'c"), bytes(range(256)) * 100
        host.write(path, data)
        assert host.read(path) == data
        assert Path(path).stat().st_mode & 0o777 == 0o644

    def test_writing_keeps_the_mode_of_a_file_or_sets_it(self, host: Host, tmp_path: Path) -> None:
        """An existing file keeps its mode; mode= sets it; a link stays a link; no temporary file is left."""
        folder = tmp_path / "folder"
        folder.mkdir()
        target, link = folder / "target", folder / "link"
        target.write_text("old")
        target.chmod(0o640)
        link.symlink_to(target)
        host.write(str(link), "new")
        assert (target.read_text(), target.stat().st_mode & 0o777, link.is_symlink()) == ("new", 0o640, True)
        host.write(str(target), "newer", mode=0o600)
        assert (target.read_text(), target.stat().st_mode & 0o777) == ("newer", 0o600)
        assert sorted(path.name for path in folder.iterdir()) == ["link", "target"]

    def test_a_file_that_is_not_there_says_so(self, host: Host, tmp_path: Path) -> None:
        """Reading a missing file raises with the system's own word."""
        with pytest.raises(CommandFailed, match="No such file"):
            host.read(str(tmp_path / "none"))

    def test_the_platform_is_known(self, host: Host) -> None:
        """The platform plug-in reads a kernel setting."""
        assert host.platform.sysctls(["kernel.ostype", "kernel.no_such"]) == {"kernel.ostype": "Linux"}


def _running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
