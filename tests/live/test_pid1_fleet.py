"""PID 1 of a fleet behind real sshd, one of them dead and one that talks nonsense; images of a real Docker Engine."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sretoolkit.cli.main import main
from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.hosts import Fleet
from sretoolkit.pid1.lint import starts
from sretoolkit.pid1.overview import report
from sretoolkit.pid1.since import compare
from sretoolkit.pid1.survey import survey
from tests.stack.docker import Docker
from tests.stack.namespaces import Namespace
from tests.stack.sshd import Sshd

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.getuid() != 0, reason="a PID namespace needs root")]

_LETTERS = str.maketrans("0123456789", "ghijklmnop")  # numbers in names are not compared
HOSTS = 4
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command with these words: exit code, output, complaints."""

    def ran(*words: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["pid1", *map(str, words)])
        told = capsys.readouterr()
        return int(caught.value.code or 0), told.out, told.err

    return ran


class Babbler:
    """A server that greets like nobody: it sends nonsense to whoever connects, for ever."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._talk, daemon=True)

    def _talk(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
                with client:
                    client.sendall(b"\x1b[2J<html>not ssh</html>\n" * 200)
            except OSError:
                return

    def __enter__(self) -> Babbler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(10)


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Config]:
    """Four hosts that answer, one whose shell prints garbage before all else, one that is no sshd, one that is dead."""
    with ExitStack() as stack:
        servers = [stack.enter_context(Sshd(tmp_path / f"sshd-{number}")) for number in range(HOSTS)]
        forced = tmp_path / "garbage"
        forced.write_text("#!/bin/sh\nhead -c 3000 /dev/urandom\nprintf 'host\\t\\033[31m\\nend\\n'\n")
        forced.chmod(0o755)
        noisy = stack.enter_context(Sshd(tmp_path / "noisy", extra=f"ForceCommand {forced}\n"))
        babbler = stack.enter_context(Babbler())
        hosts = {f"host-{number}": server.options(tags=["web"]) for number, server in enumerate(servers)}
        hosts["garbage"] = noisy.options(tags=["web"])
        hosts["babbler"] = {**servers[0].options(tags=["web"]), "port": babbler.port}
        dead = stack.enter_context(Sshd(tmp_path / "dead"))
        hosts["dead"] = dead.options(tags=["web"])
        dead.stop()
        yield Config.of(hosts=hosts)


def _written(config: Config, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same configuration as a file where the command looks for it."""
    lines = []
    for name in config.names("hosts"):
        lines.append(f"[hosts.{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in config.endpoint("hosts", name).items()]
    (folder / "sretoolkit.toml").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(folder)


def test_a_fleet_with_lost_hosts(config: Config) -> None:
    """Those that answer are judged, the three others are findings with their reasons, and nobody is absent."""
    with Namespace("/bin/sleep", "600"), Fleet.of("web", config=config) as fleet:
        found = survey(fleet)
        made = report(found, "fleet")
    assert {"garbage", "babbler", "dead"} == set(found.missing)
    assert HOSTS + 3 == len(found.hosts) == made.facts["hosts"]
    lost = next(finding for finding in made.sorted if finding.rule == "host-unanswered")
    assert "3 hosts (babbler, dead, garbage)" == lost.subject
    dropped = next(finding for finding in made.sorted if finding.rule == "stop-dropped")
    assert f"{HOSTS} hosts" in dropped.subject
    assert "\x1b" not in str(made)


def test_what_went_is_gone_and_what_is_silent_is_not(config: Config, tmp_path: Path) -> None:
    """The second scan, after a container ended (of a name that nobody else's has): gone on the hosts that answer."""
    program = shutil.copy("/bin/sleep", tmp_path / f"nap-{uuid.uuid4().hex[:8].translate(_LETTERS)}")
    with Fleet.of("web", config=config) as fleet:
        with Namespace(str(program), "600"):
            before = survey(fleet)
        after = survey(fleet)
    found = compare(before, after)
    gone = {(each.finding.rule, each.host) for each in found.gone}
    assert {("stop-dropped", f"host-{number}") for number in range(HOSTS)} <= gone
    assert {"babbler", "dead", "garbage"} == {
        each.host for each in found.still if each.finding.rule == "host-unanswered"
    }


def test_the_command_over_a_fleet(config: Config, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By tag: text, JSON, metrics; 1 for findings, 3 where only silence is wrong."""
    _written(config, tmp_path, monkeypatch)
    with Namespace("/bin/sleep", "600"):
        code, out, _ = run("web", "--textfile", tmp_path / "pid1.prom")
        data = json.loads(run("fleet:web", "--json")[1])
    assert (1, True) == (code, "not answered: 3" in out)
    assert HOSTS + 3 == len(data["scan"]["hosts"])
    metrics = (tmp_path / "pid1.prom").read_text().splitlines()
    assert {'sretoolkit_pid1_host_up{host="host-0"} 1', 'sretoolkit_pid1_host_up{host="dead"} 0'} <= set(metrics)
    assert 3 == run("host:dead")[0]


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    """An engine of the tests' own."""
    if not shutil.which("dockerd"):
        pytest.skip("no dockerd here (apt install docker.io)")
    with Docker() as engine:
        yield engine


IMAGES = {
    "CMD python3 app.py": "stop-uncertain",
    'ENTRYPOINT ["/bin/sh", "-c", "a; b"]': "stop-dropped",
    'CMD ["sleep", "600"]': "stop-dropped",
    'ENTRYPOINT ["/sbin/init"]': "stop-killed",
    'ENTRYPOINT ["/sbin/init"]\nSTOPSIGNAL SIGRTMIN+3': "",
    'ENTRYPOINT ["tini", "--"]\nCMD ["sleep", "600"]': "",
    'ENTRYPOINT ["tini", "--"]\nCMD a; b': "stop-not-passed-on",
    'FROM borrowed AS below\nCMD ["sleep", "9"]\nFROM below\nENTRYPOINT ["nginx"]': "",
    'FROM borrowed AS below\nCMD ["nginx"]\nONBUILD CMD ["sleep", "9"]\nFROM below': "stop-dropped",
}


@pytest.mark.parametrize("number", range(len(IMAGES)))
def test_an_image_by_its_configuration(
    number: int, docker: Docker, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the engine builds, its inspection in a file and its archive are judged as that; its Dockerfile starts the same."""
    monkeypatch.setenv("DOCKER_HOST", docker.url)
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")  # the engine's own builder: there is no other
    text, rule = list(IMAGES.items())[number]
    name, context = f"static-{number}:1", tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(text if text.startswith("FROM") else f"FROM borrowed\n{text}\n")
    docker.call("build", "-q", "-t", name, context)
    (tmp_path / "image.json").write_text(docker.call("image", "inspect", name))
    docker.call("save", "-o", tmp_path / "image.tar", name)
    for target in (f"image:{name}", name, tmp_path / "image.json", tmp_path / "image.tar"):
        out = run(target, "--json")[1]
        found = {each["finding"]["rule"] for each in json.loads(out)["scan"]["active"]} - {"reaping-latent"}
        assert ({rule} - {""}) == found, (target, out)
    config = json.loads((tmp_path / "image.json").read_text())[0]["Config"]
    (start,) = starts(context)
    assert (*(config["Entrypoint"] or ()), *(config["Cmd"] or ())) == start.command
    assert config.get("StopSignal") == start.stop_signal


def test_what_was_foretold_of_an_image_happens(docker: Docker, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The static verdict, the running container's, and docker stop agree; the container is named as Docker names it."""
    monkeypatch.setenv("DOCKER_HOST", docker.url)
    container = docker.run("sh", "-c", "sleep 600; true")
    docker.call("commit", "--change", 'CMD ["sh", "-c", "sleep 600; true"]', container, "foretold:1")
    static = json.loads(run("image:foretold:1", "--json")[1])["scan"]["active"]
    assert poll(lambda: "stop-dropped" in run(f"container:{container}", "--json")[1], timeout=20)
    live = json.loads(run(f"localhost/{container}", "--json")[1])["scan"]["active"]
    assert "stop-dropped" in {each["finding"]["rule"] for each in static}
    assert {container} == {each["container"] for each in live}
    docker.call("stop", "-t", "2", container)
    assert "137" == docker.call("inspect", "--format", "{{.State.ExitCode}}", container).strip()
