"""``sretoolkit pid1``: what a word means, what is printed, and with which code it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sretoolkit.cli.main import main
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError
from sretoolkit.pid1 import examine, targets
from sretoolkit.pid1.targets import Target, resolve

Run = Callable[..., tuple[int, str, str]]
BAD = "FROM debian:12\nCMD gunicorn app\n"
GOOD = 'FROM debian:12\nCMD ["nginx"]\n'
SUPPRESSION = """
[[suppress]]
rule = "stop-dropped"
subject = "Dockerfile"
reason = "why"
owner = "who"
expires = 9999-12-31
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command with these words: exit code, output, complaints."""

    def ran(*words: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["pid1", *map(str, words)])
        told = capsys.readouterr()
        return int(caught.value.code or 0), told.out, told.err

    return ran


@pytest.fixture
def dockerfile(tmp_path: Path) -> Path:
    """One with a fault."""
    path = tmp_path / "Dockerfile"
    path.write_text(BAD)
    return path


def test_a_faulty_file_ends_with_1(run: Run, dockerfile: Path) -> None:
    """The finding with file, line and remedy; a file without a fault ends with 0."""
    code, out, _ = run(dockerfile)
    assert (1, True, True) == (code, f"{dockerfile}:2" in out, 'remedy: CMD ["gunicorn", "app"]' in out)
    dockerfile.write_text(GOOD)
    assert 0 == run(dockerfile)[0]


def test_a_watch_is_a_duration(run: Run, dockerfile: Path) -> None:
    """Another word is refused before anything is looked at; a file has no process ids to watch."""
    code, _, said = run("--watch", "soon", dockerfile)
    assert (2, True) == (code, "'soon' is not a duration" in said)
    assert 1 == run("--watch", "10s", dockerfile)[0]


def test_a_program_gets_the_same_report(run: Run, dockerfile: Path) -> None:
    """``examine`` is the command without the terminal."""
    assert run(dockerfile)[1] == f"{examine([str(dockerfile)])}\n"


def test_fail_on_says_from_where(run: Run, dockerfile: Path) -> None:
    """The default is high; what is worse counts too."""
    assert (0, 1, 1, 1) == tuple(run(dockerfile, "--fail-on", word)[0] for word in ("critical", "high", "low", "info"))
    dockerfile.write_text('FROM debian\nCMD ["node", "x"]\n')
    assert (0, 1) == (run(dockerfile)[0], run(dockerfile, "--fail-on", "medium")[0])


@pytest.mark.parametrize(
    "words",
    [
        ["no-such-thing"],
        ["file:no-such-file"],
        ["host:no-such-host"],
        ["fleet:no-such-tag"],
        ["image:"],
        ["localhost", "--stop-signal", "SIGNOPE"],
        ["localhost", "--since", "no-such-file"],
        ["localhost", "--suppressions", "no-such-file"],
        ["localhost", "--json", "--sarif"],
        ["localhost", "--fail-on", "terrible"],
        ["ssh://user:secret@address"],
    ],
)
def test_bad_input_ends_with_2(run: Run, words: list[str]) -> None:
    """Said on the error stream with what to do, and nothing is printed that could be taken for a report."""
    code, out, err = run(*words)
    assert (2, "") == (code, out)
    assert "secret" not in err.replace("ssh://address", "")


def test_what_cannot_be_looked_at_ends_with_3(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that does not answer is in the report; a container and an image that are not there are errors."""
    code, out, _ = run("ssh://nobody@127.0.0.1:1")
    assert (3, True) == (code, "did not answer, so nothing is known of it" in out)
    assert 3 == run("container:no-such-container")[0]
    code, out, err = run("image:no-such-image:1")
    assert (3, "", True) == (code, out, "no image 'no-such-image:1'" in err)


def test_one_that_is_missing_does_not_hide_the_others(run: Run, dockerfile: Path) -> None:
    """Among several it is a finding, and the code is that of the others, or 3."""
    code, out, _ = run(dockerfile, "container:no-such-container")
    assert (1, True, True) == (code, "container:no-such-container: did not" in out, "SIGTERM will be dropped" in out)
    dockerfile.write_text(GOOD)
    assert 3 == run(dockerfile, "container:no-such-container")[0]


def test_json_can_be_compared_with(run: Run, dockerfile: Path, tmp_path: Path) -> None:
    """--json is saved, --since reads it: still there, then gone."""
    code, out, _ = run(dockerfile, "--json")
    (tmp_path / "before.json").write_text(out)
    assert (1, "high") == (code, json.loads(out)["worst"])
    assert "still there: 1" in run(dockerfile, "--since", tmp_path / "before.json")[1]
    dockerfile.write_text(GOOD)
    code, out, _ = run(dockerfile, "--since", tmp_path / "before.json")
    assert (0, True) == (code, "gone: 1" in out)


def test_sarif_goes_to_stdout(run: Run, dockerfile: Path) -> None:
    """One document, and the exit code as ever."""
    code, out, _ = run(dockerfile, "--sarif")
    (result,) = json.loads(out)["runs"][0]["results"]
    assert (1, "stop-dropped") == (code, result["ruleId"])


def test_suppressed_findings_do_not_fail(run: Run, dockerfile: Path, tmp_path: Path) -> None:
    """They are listed, in text and in SARIF; an expired one fails by itself from medium on."""
    file = tmp_path / "pid1.toml"
    file.write_text(SUPPRESSION)
    code, out, _ = run(dockerfile, "--suppressions", file)
    assert (0, True) == (code, "why (who, until 9999-12-31)" in out)
    (result,) = json.loads(run(dockerfile, "--suppressions", file, "--sarif")[1])["runs"][0]["results"]
    assert "why (who, until 9999-12-31)" == result["suppressions"][0]["justification"]
    file.write_text(SUPPRESSION.replace("9999", "2020"))
    code, out, _ = run(dockerfile, "--suppressions", file)
    assert (1, True) == (code, "ended on 2020-12-31" in out)


def test_metrics_are_written_beside_the_report(run: Run, dockerfile: Path, tmp_path: Path) -> None:
    """The file and the report come of one look."""
    metrics = tmp_path / "pid1.prom"
    assert 1 == run(dockerfile, "--textfile", metrics)[0]
    assert 'sretoolkit_pid1_findings{rule="stop-dropped",severity="high"} 1' in metrics.read_text().splitlines()


def test_this_machine_is_looked_at_without_a_word(run: Run) -> None:
    """Whoever we are: it ends with a table and a code that is no error's."""
    code, out, _ = run()
    assert (True, True) == (code in (0, 1), out.startswith("PID 1 health of localhost\n"))


def test_an_ambiguous_word_lists_the_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host, a tag and a folder of one name: each prefix form is told."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "web").mkdir()
    config = Config.of(hosts={"web": {"address": "192.0.2.1", "tags": ["web"]}})
    with pytest.raises(ConfigError, match="can mean several things: host:web, file:web, fleet:web"):
        resolve("web", config)


def test_what_words_mean(dockerfile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind by its look, or by its prefix."""
    config = Config.of(hosts={"box": {"address": "192.0.2.1", "tags": ["eu"]}})
    monkeypatch.setattr(
        targets, "_running_or_stored", lambda word, _: [Target("image", word)] if word == "nginx:1" else []
    )
    expected = {
        "box": Target("host", "box"),
        "localhost": Target("host", "localhost"),
        "ssh://a@b:22": Target("host", "ssh://a@b:22"),
        "eu": Target("fleet", "eu"),
        "all": Target("fleet", "all"),
        "box/web": Target("container", "box/web"),
        str(dockerfile): Target("file", str(dockerfile)),
        f"{dockerfile}#build": Target("file", str(dockerfile), "build"),
        "file:Dockerfile#build": Target("file", "Dockerfile", "build"),
        "nginx:1": Target("image", "nginx:1"),
        "image:registry:5000/x@sha256:1": Target("image", "registry:5000/x@sha256:1"),
    }
    assert expected == {word: resolve(word, config) for word in expected}


def test_hostile_names_reach_no_terminal(run: Run, tmp_path: Path) -> None:
    """An escape in a file's name or content is shown as text, in every format."""
    path = tmp_path / "\x1b[31m.Dockerfile"
    path.write_text('FROM debian\nCMD ["sleep", "\\u001b[2J"]\nLABEL owner="\x1b[0m"\nSTOPSIGNAL \x1b[1m\n')
    for option in ((), ("--json",), ("--sarif",)):
        assert "\x1b" not in "".join(run(path, *option)[1:])
