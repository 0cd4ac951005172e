"""The linter on Dockerfiles: what is parsed, what it starts, and what is said of that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sretoolkit.errors import ConfigError
from sretoolkit.pid1.lint import lint, starts
from sretoolkit.pid1.lint.syntax import parse
from sretoolkit.pid1.script import read
from sretoolkit.pid1.sighting import Sighting

DEBIAN, ALPINE, OTHER = "FROM debian:12\n", "FROM alpine:3.20\n", "FROM registry.example/team/base:1\n"
DROPPED, TOLD, LATER = ("stop-dropped", "high"), ("stop-not-passed-on", "high"), ("stop-deferred", "medium")
CUT = ("stop-cut-off", "medium")
LATENT = ("reaping-latent", "low")


def _lint(folder: Path, text: str, *, target: str = "", name: str = "Dockerfile") -> list[Sighting]:
    path = folder / name
    path.write_text(text)
    return lint(path, target=target)


def _said(sightings: list[Sighting]) -> list[tuple[str, str]]:
    return [(each.finding.rule, each.finding.severity) for each in sightings]


CASES = {
    "shell form on dash": (DEBIAN + "CMD gunicorn app", [DROPPED]),
    "shell form on busybox becomes the program": (ALPINE + "CMD gunicorn app", [("stop-uncertain", "info")]),
    "shell form on an unknown shell": (OTHER + "ENTRYPOINT gunicorn app", [("stop-uncertain", "medium")]),
    "shell form of two commands": (ALPINE + "CMD migrate && gunicorn app", [DROPPED]),
    "shell form with exec": (DEBIAN + "CMD migrate && exec gunicorn app", [("stop-uncertain", "info")]),
    "shell form with a pipe": (DEBIAN + "CMD exec gunicorn app | tee log", [DROPPED]),
    "bash as SHELL": (DEBIAN + 'SHELL ["/bin/bash", "-c"]\nCMD gunicorn app', [("stop-uncertain", "info")]),
    "exec form": (DEBIAN + 'CMD ["gunicorn", "app"]', [("stop-uncertain", "info")]),
    "exec form of sleep": (DEBIAN + 'CMD ["sleep", "infinity"]', [DROPPED, LATENT]),
    "node": (DEBIAN + 'CMD ["node", "server.js"]', [("stop-uncertain", "medium"), LATENT]),
    "python": (DEBIAN + 'CMD ["python3.11", "app.py"]', [("stop-uncertain", "low"), LATENT]),
    "nginx": (DEBIAN + 'CMD ["nginx", "-g", "daemon off;"]', []),
    "java": (DEBIAN + 'CMD ["java", "-jar", "app.jar"]', [LATENT]),
    "tini": (DEBIAN + 'ENTRYPOINT ["/usr/bin/tini", "--"]\nCMD ["gunicorn", "app"]', []),
    "tini before a shell": (DEBIAN + 'ENTRYPOINT ["tini", "--"]\nCMD gunicorn app', [TOLD]),
    "tini -g before a shell": (DEBIAN + 'ENTRYPOINT ["tini", "-g", "--"]\nCMD gunicorn app', [CUT]),
    "tini before exec": (DEBIAN + 'ENTRYPOINT ["tini", "--"]\nCMD exec gunicorn app', []),
    "tini with an option that takes an argument": (
        DEBIAN + 'ENTRYPOINT ["tini", "-p", "SIGTERM", "--", "sh", "-c", "a; b"]', [TOLD]),
    "dumb-init before a shell": (DEBIAN + 'ENTRYPOINT ["dumb-init"]\nCMD gunicorn app', [CUT]),
    "dumb-init -c before a shell": (DEBIAN + 'ENTRYPOINT ["dumb-init", "-c", "--"]\nCMD gunicorn app', [TOLD]),
    "trap over the foreground": (DEBIAN + "CMD trap 'exit 0' TERM; gunicorn app", [LATER]),
    "trap that tells nobody": (DEBIAN + "CMD trap 'exit 0' TERM; gunicorn app & wait $!", [TOLD]),
    "trap that does not wait": (DEBIAN + "CMD trap 'kill $!; exit' TERM; gunicorn app & wait $!", [CUT]),
    "trap that tells and waits": (DEBIAN + "CMD trap 'kill $!; wait; exit' TERM; gunicorn app & wait $!", []),
    "timeout before the program": (DEBIAN + 'CMD ["timeout", "600", "gunicorn", "app"]', [("stop-uncertain", "info")]),
    "background without trap": (DEBIAN + "CMD gunicorn app & wait", [DROPPED]),
    "systemd": (DEBIAN + 'CMD ["/lib/systemd/systemd"]', [("stop-killed", "high")]),
    "systemd with its signal": (DEBIAN + 'CMD ["/sbin/init"]\nSTOPSIGNAL SIGRTMIN+3', []),
    "systemd by number": (DEBIAN + 'CMD ["/sbin/init"]\nSTOPSIGNAL 37', []),
    "systemd on an unknown base": (OTHER + 'ENTRYPOINT ["/sbin/init"]', [("stop-uncertain", "medium")]),
    "SIGKILL": (DEBIAN + 'CMD ["nginx"]\nSTOPSIGNAL 9', [("stop-killed", "high")]),
    "a signal that is none": (DEBIAN + 'CMD ["nginx"]\nSTOPSIGNAL SIGNOPE', [("stop-signal-invalid", "high")]),
    "a signal from a variable": (
        DEBIAN + 'ARG S=RTMIN+3\nENV T=SIG${S}\nCMD ["/sbin/init"]\nSTOPSIGNAL $T', []),
    "nothing is known": (OTHER, [("blind", "info")]),
    "nothing is started": ("FROM scratch\nCOPY a /a\n", [("blind", "info")]),
    "CMD under an unknown base": (OTHER + "CMD a && b", [("stop-dropped", "medium")]),
    "ENTRYPOINT in shell form ignores CMD": (DEBIAN + 'ENTRYPOINT gunicorn app\nCMD ["nginx"]', [DROPPED]),
    "an inherited CMD falls with a new ENTRYPOINT": (
        DEBIAN.strip() + ' AS a\nCMD ["x", "y"]\nFROM a\nENTRYPOINT ["nginx"]', []),
    "the stage below": (DEBIAN.strip() + " AS a\nCMD gunicorn app\nFROM a\nRUN true", [DROPPED]),
    "ONBUILD": (DEBIAN.strip() + " AS a\nONBUILD CMD gunicorn app\nFROM a\nRUN true", [DROPPED]),
    "ONBUILD is not for this stage": (DEBIAN + 'CMD ["nginx"]\nONBUILD CMD gunicorn app', []),
    "health check": (
        DEBIAN + 'CMD ["gunicorn"]\nHEALTHCHECK CMD curl -f localhost', [("stop-uncertain", "info"), LATENT]),
    "health check of one that leaves orphans": (
        DEBIAN + 'CMD ["java"]\nHEALTHCHECK CMD curl -f localhost', [("reaping-latent", "medium")]),
    "no health check": (DEBIAN + 'CMD ["gunicorn"]\nHEALTHCHECK NONE', [("stop-uncertain", "info")]),
    "a base from an argument": ("ARG BASE=debian\nFROM ${BASE}:12\nCMD gunicorn app", [DROPPED]),
    "wrappers that become the program": (
        DEBIAN + 'CMD ["gosu", "app", "env", "-u", "X", "A=1", "sleep", "9"]', [DROPPED, LATENT]),
    "a script of which nothing is known": (
        DEBIAN + 'ENTRYPOINT ["/docker-entrypoint.sh"]\nCMD ["nginx"]', [("stop-uncertain", "low")]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_said(case: str, tmp_path: Path) -> None:
    """Each way to start a program is judged by what is known, and called uncertain where it is not."""
    text, expected = CASES[case]
    assert expected == _said(_lint(tmp_path, text))


SCRIPTS = {
    "exec at the end": ("set -e\n[ -n \"$A\" ] || exit 1\nexec \"$@\"\n", []),
    "no exec": ("set -e\n\"$@\"\n", [DROPPED]),
    "exec in every branch": ('if [ "$1" = x ]; then\n  exec nginx\nelse\n  exec "$@"\nfi\n', []),
    "exec only sometimes": ('if [ "$1" = x ]; then exec "$@"; fi\nnginx\n', [("stop-uncertain", "low")]),
    "exec in a comment": ('"$@" # exec "$@"\n', [DROPPED]),
    "exec in a document": ('cat <<END\nexec "$@"\nEND\n"$@"\n', [DROPPED]),
    "exec in quotes": ("echo 'exec \"$@\"'\n\"$@\"\n", [DROPPED]),
    "exec after continuation": ('exec \\\n  "$@"\n', []),
    "exec for redirection only": ('exec >/log 2>&1\n"$@"\n', [DROPPED]),
}  # fmt: skip


@pytest.mark.parametrize("case", SCRIPTS)
@pytest.mark.parametrize("how", ["copied", "folder", "inline"])
def test_a_script_beside_it_is_read(case: str, how: str, tmp_path: Path) -> None:
    """An entrypoint script from the build context, or written in the Dockerfile, says by exec whether it stays."""
    body, expected = SCRIPTS[case]
    script = "#!/bin/sh\n" + body
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "entry.sh").write_text(script)
    copy = {
        "copied": "COPY --chmod=755 scripts/entry.sh /usr/local/bin/",
        "folder": "COPY scripts /usr/local/bin",
        "inline": f"COPY <<'EOF' /usr/local/bin/entry.sh\n{script}EOF",
    }[how]
    text = f'{DEBIAN}{copy}\nENTRYPOINT ["entry.sh"]\nCMD ["nginx", "-g", "daemon off;"]\n'
    assert expected == _said(_lint(tmp_path, text))


def test_nothing_outside_the_build_context_is_read(tmp_path: Path) -> None:
    """Neither a link nor a path with dots leads out of it."""
    secret = tmp_path / "secret.sh"
    secret.write_text('#!/bin/sh\n"$@"\n')
    context = tmp_path / "context"
    context.mkdir()
    (context / "entry.sh").symlink_to(secret)
    for source in ("entry.sh", "../secret.sh"):
        text = f'{DEBIAN}COPY {source} /entry.sh\nENTRYPOINT ["/entry.sh"]\nCMD ["nginx"]\n'
        assert [("stop-uncertain", "low")] == _said(_lint(context, text))


def test_a_finding_names_file_line_and_the_line_to_write(tmp_path: Path) -> None:
    """Evidence is file:line, the remedy a line of a Dockerfile."""
    (found,) = _lint(tmp_path, "# what it is\nFROM debian:12\n\nCMD python3 \\\n  # a comment\n  app.py --port 80\n")
    assert f"{tmp_path}/Dockerfile:4: " == found.finding.evidence[: len(f"{tmp_path}/Dockerfile:4: ")]
    assert ('CMD ["python3", "app.py", "--port", "80"]', "inferred", 4) == (
        found.finding.remedy,
        found.finding.proof,
        found.line,
    )


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (DEBIAN + "CMD cd /srv && gunicorn ${X}", "CMD cd /srv && exec gunicorn ${X}"),
        (DEBIAN + "CMD ['nginx', '-g']", 'CMD ["program", "argument"]: a list in double quotes; as it is written, the shell'),
        (DEBIAN + 'CMD ["/sbin/init"]', "STOPSIGNAL SIGRTMIN+3"),
        (ALPINE + 'ENTRYPOINT ["sleep", "9"]', 'RUN apk add --no-cache tini\nENTRYPOINT ["/sbin/tini", "--", "sleep", "9"]'),
        (DEBIAN + 'ENTRYPOINT ["tini", "--"]\nCMD a b', 'CMD ["a", "b"]'),
    ],
)  # fmt: skip
def test_remedies_are_written_as_dockerfiles_are(text: str, remedy: str, tmp_path: Path) -> None:
    """The exact line, with this image's own program and package manager."""
    found = _lint(tmp_path, text)[0].finding.remedy
    assert remedy == found[: len(remedy)]


def test_a_remedy_that_is_applied_ends_the_finding(tmp_path: Path) -> None:
    """The line that is told makes a Dockerfile of which the fault is no longer said."""
    before = _lint(tmp_path, DEBIAN + "CMD gunicorn app")
    after = _lint(tmp_path, DEBIAN + before[0].finding.remedy)
    tini = _lint(tmp_path, DEBIAN + after[0].finding.remedy.split("\nor ")[0] + '\nCMD ["gunicorn", "app"]')
    assert (["stop-dropped"], ["stop-uncertain"], []) == tuple(
        [each.finding.rule for each in found] for found in (before, after, tini)
    )


def test_a_stage_is_chosen_by_name(tmp_path: Path) -> None:
    """As with docker build --target; one that is not there is an error that lists the others."""
    text = DEBIAN.strip() + ' AS One\nCMD a; b\nFROM scratch AS two\nCMD ["nginx"]\n'
    assert ([DROPPED], []) == (_said(_lint(tmp_path, text, target="one")), _said(_lint(tmp_path, text)))
    with pytest.raises(ConfigError, match="no stage 'three'") as caught:
        _lint(tmp_path, text, target="three")
    assert "its stages: one, two" == caught.value.hint


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.web", "web.Dockerfile", "Containerfile", "dockerfile"])
def test_a_dockerfile_is_known_by_its_name(name: str, tmp_path: Path) -> None:
    """As builders know it."""
    assert [DROPPED] == _said(_lint(tmp_path, DEBIAN + "CMD a b", name=name))


def test_a_file_without_from_is_none(tmp_path: Path) -> None:
    """What is no Dockerfile is an error, not one without faults."""
    for content in ("", "hello\nworld\n", "# FROM debian\n"):
        with pytest.raises(ConfigError, match="no FROM"):
            _lint(tmp_path, content)
    (tmp_path / "Dockerfile").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        starts(tmp_path / "Dockerfile")


SAMPLES = [
    "# escape=`\nFROM a `\n AS b\nRUN dir c:\\\nCMD x\n",
    "# syntax=docker/dockerfile:1\n#escape=`\n\nFROM a\nCMD x `\n# c\n\n  y\n",
    "\n# escape=`\nFROM a\nCMD x \\\n y\n",
    "\ufeffFROM a\r\nCMD [\"x\", \\\r\n \"y\"]\r\n",
    "FROM a\nRUN <<EOF\nCMD no\nEOF\nCMD yes\n",
    "FROM a\nRUN <<-EOF cat && <<'TWO' cat\n\tCMD no\n\tEOF\nCMD no\nTWO\nCMD yes\n",
    "FROM a\nCOPY <<EOF <<TWO /x/\na\nEOF\nb\nTWO\nENTRYPOINT [\"x\"]\n",
    "FROM a\nRUN echo \"<<EOF\" \nCMD yes\n",
    "FROM a\nRUN cat <<<EOF\nCMD yes\n",
    "FROM a\nONBUILD RUN <<EOF\nCMD no\nEOF\nCMD yes\n",
    "FROM a\nRUN x \\\n\n\n  # c\n && y\nHEALTHCHECK --interval=5s --timeout=3s CMD z\n",
    "from a\ncmd [ \"x\" ]\n",
    "FROM a\nCMD x \\   \n  y \\z\n",
    "FROM a\nCMD\t[\"x\"]\n   ENTRYPOINT   y  \n",
]  # fmt: skip

ORACLE = """
import dockerfile, json, sys
print(json.dumps([[c.cmd.upper(), c.start_line, list(c.value) if c.json else None, [h.content for h in c.heredocs]]
                  for c in dockerfile.parse_string(sys.stdin.read())]))
"""


@pytest.mark.parametrize("text", SAMPLES)
def test_it_reads_what_buildkit_reads(text: str) -> None:
    """The same instructions on the same lines as BuildKit's own parser, where that is installed (package dockerfile)."""
    pytest.importorskip("dockerfile", reason="pip install dockerfile, on the platforms that it has a wheel for")
    # In a process of its own: it brings the Go runtime along.
    done = subprocess.run([sys.executable, "-c", ORACLE], input=text, capture_output=True, text=True, check=True)
    ours = [[each.word, each.line, each.listed, list(each.documents.values())] for each in parse(text)]
    theirs = list(json.loads(done.stdout))
    assert [each[:3] for each in theirs] == [each[:3] for each in ours]
    assert [_documents(each) for each in theirs] == [_documents(each) for each in ours]


def _documents(instruction: list[Any]) -> list[str]:
    """BuildKit takes leading tabs away later, and knows those of an ONBUILD later still."""
    return [] if instruction[0] == "ONBUILD" else [text.replace("\t", "") for text in instruction[3]]


WORDS = st.sampled_from(
    ["FROM a", "CMD", "ENTRYPOINT", "RUN", "COPY", "ONBUILD", "ARG", "ENV", "x", '["x"]', "<<EOF", "EOF", "\\", "\n", "\t", " ",
     "#", "$X", "${X:-y}", "'", '"', "`", "$(", ")", ";", "&", "|", "exec", "trap", "STOPSIGNAL", "LABEL", "=", "é", "\x00"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=30))
def test_no_text_breaks_it(words: list[str]) -> None:
    """Whatever stands there, the parser and the shell's reader come to an end without an error of their own."""
    from sretoolkit.pid1.lint.formats.dockerfile import start_of
    from sretoolkit.pid1.lint.rules import judge
    from sretoolkit.pid1.lint.stages import stages

    text = "FROM debian\n" + " ".join(words)
    read(text)
    for stage in stages(text, Path("/nonexistent")):
        for sighting in judge(start_of(stage, Path("Dockerfile"))):
            assert sighting.finding.rule
