"""What each known kind of first process does with its stop signal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sretoolkit.pid1.init import GO, INITS, Stop, kind_of, reaps
from sretoolkit.pid1.verdict import Subject, judge
from tests.pid1.facts import CHLD, INT, QUIT, TERM, Scan, only

FORWARDS = TERM | CHLD | INT


def _stop(scan: Scan, *, signal: int = 15, assumed: bool = False) -> tuple[str, Stop]:
    init = only(scan.done())
    name, kind = kind_of(init)
    return name, kind.stop(init, signal, assumed=assumed)


def _judged(scan: Scan) -> tuple[str, str, str | None, str]:
    name, stop = _stop(scan)
    return name, stop.word, stop.severity, stop.proof


def test_every_kind_is_one_file() -> None:
    """The plug-ins that exist."""
    assert list(INITS) == [
        "apache", "busybox-init", "catatonit", "dumb-init", "plain", "runsvdir", "shared", "shell", "su", "systemd",
        "timeout", "tini",
    ]  # fmt: skip


def test_no_handler_is_dropped_for_certain() -> None:
    """The kernel's own rule needs no guess."""
    scan = Scan()
    scan.init(500, name="sleep")
    assert _judged(scan) == ("plain", "dropped", "high", "certain")


def test_a_process_just_started_may_still_set_a_handler_up() -> None:
    """What is seen in the first seconds is no proof."""
    scan = Scan()
    scan.init(500, name="python3", age=1)
    name, stop = _stop(scan)
    assert (name, stop.word, stop.proof) == ("plain", "dropped", "inferred")
    assert "only just started" in stop.why


def test_a_handler_is_no_promise() -> None:
    """A caught signal is handled; what the handler does is said to be unseen."""
    scan = Scan()
    scan.init(500, name="nginx", caught=TERM)
    name, stop = _stop(scan)
    assert (name, stop.word, stop.severity) == ("plain", "handled", None)
    assert "cannot be seen" in stop.why


def test_node_is_uncertain() -> None:
    """Node's masks are the same with and without a listener."""
    scan = Scan()
    scan.init(500, name="node", caught=TERM)
    assert _judged(scan) == ("plain", "uncertain", "medium", "inferred")


@pytest.mark.parametrize(
    ("background", "age", "word", "severity"),
    [(False, 600, "deferred", "high"), (False, 3, "uncertain", "low"), (True, 600, "handled", None)],
)
def test_a_trap_waits_for_the_foreground(background: bool, age: float, word: str, severity: str | None) -> None:
    """A shell's trap runs when the foreground child ends; a background child does not delay it."""
    scan = Scan()
    scan.init(500, name="bash", caught=TERM | CHLD, any_child=True)
    scan.process(501, name="app", parent=500, ignored=INT | QUIT if background else 0, age=age)
    name, stop = _stop(scan)
    assert (name, stop.word, stop.severity) == ("shell", word, severity)


def test_a_shell_without_a_trap_passes_nothing_on() -> None:
    """It is called by its own remedy: exec."""
    scan = Scan()
    scan.init(500, name="sh", program="dash", any_child=True)
    name, stop = _stop(scan)
    assert (name, stop.word, stop.proof) == ("shell", "dropped", "certain")
    assert stop.fix == "exec"


def test_busybox_is_what_it_is_called_as() -> None:
    """One program, many names."""
    scan = Scan()
    scan.init(500, name="sh", program="busybox", any_child=True)
    assert _judged(scan)[0] == "shell"


def test_a_false_name_is_not_believed() -> None:
    """A program that calls itself tini is judged by its file."""
    scan = Scan()
    scan.init(500, name="tini", program="python3")
    assert _judged(scan) == ("plain", "dropped", "high", "certain")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["tini", "--", "sh"], "not passed on"),
        (["tini", "-g", "--", "sh"], "cut off"),
        (["tini", "-vg", "sh"], "cut off"),
        (["tini", "sh", "-g"], "not passed on"),
        (["tini", "--", "sh", "-g"], "not passed on"),
        (["dumb-init", "sh"], "cut off"),
        (["dumb-init", "-c", "sh"], "not passed on"),
        (["dumb-init", "--single-child", "sh"], "not passed on"),
        (["catatonit", "--", "sh"], "not passed on"),
        (["catatonit", "-g", "--", "sh"], "cut off"),
    ],
)
def test_a_shell_behind_an_init_hides_the_program(arguments: list[str], word: str) -> None:
    """Only an init that signals the whole group reaches what the shell has started, and it leaves when the shell does."""
    scan = Scan()
    scan.init(500, name=arguments[0], arguments=arguments, sigwait=FORWARDS)
    scan.process(501, name="sh", parent=500, children=1)
    name, stop = _stop(scan)
    assert (name, stop.word) == (arguments[0], word)


def test_an_init_before_a_program_is_fine() -> None:
    """The program is no namespace's first process, so even the default action works."""
    scan = Scan()
    scan.init(500, name="tini", sigwait=FORWARDS)
    scan.process(501, name="app", parent=500)
    assert _judged(scan) == ("tini", "handled", None, "inferred")


def test_an_init_cannot_help_a_program_that_ignores_the_signal() -> None:
    """The child decides."""
    scan = Scan()
    scan.init(500, name="docker-init", sigwait=FORWARDS)
    scan.process(501, name="app", parent=500, ignored=TERM)
    assert _judged(scan) == ("tini", "ignored", "high", "certain")


def test_a_child_that_blocks_is_unknown_where_its_threads_are_not_seen() -> None:
    """It may wait for the signal."""
    scan = Scan()
    scan.init(500, name="catatonit", blocked=FORWARDS, signalfd=FORWARDS)
    scan.process(501, name="app", parent=500, blocked=TERM)
    assert _judged(scan) == ("catatonit", "unknown", None, "inferred")


@pytest.mark.parametrize(
    ("waits", "word"),
    [
        ({"threads": [TERM], "signalfd": TERM}, "handled"),
        ({"threads": [TERM, 0], "sigwait": TERM}, "handled"),
        ({"threads": [TERM, TERM]}, "blocked"),
        ({"threads": [TERM, 0]}, "handled"),
    ],
)
def test_a_child_that_blocks_is_judged_by_all_its_threads(waits: dict[str, Any], word: str) -> None:
    """A thread in sigwait, a signalfd, or a thread that does not block it: it is told; else it is not."""
    scan = Scan()
    scan.init(500, name="catatonit", blocked=FORWARDS, signalfd=FORWARDS)
    scan.process(501, name="app", parent=500, blocked=TERM)
    scan.waits(501, **waits)
    assert _stop(scan, signal=15, assumed=False)[1].word == word


def test_without_root_an_init_is_unknown() -> None:
    """Its sigwait cannot be seen and its name proves nothing."""
    scan = Scan(uid=1000)
    scan.init(500, name="tini")
    assert _judged(scan) == ("tini", "unknown", None, "inferred")


@pytest.mark.parametrize(
    ("signal", "assumed", "word", "severity"),
    [(15, True, "uncertain", "low"), (15, False, "killed", "high"), (37, False, "handled", None)],
)
def test_systemd_wants_its_own_signal(signal: int, assumed: bool, word: str, severity: str | None) -> None:
    """SIGRTMIN+3 stops it; with an assumed SIGTERM nothing is claimed beyond a check to make."""
    scan = Scan()
    scan.init(500, name="systemd", signalfd=TERM, blocked=TERM)
    name, stop = _stop(scan, signal=signal, assumed=assumed)
    assert (name, stop.word, stop.severity) == ("systemd", word, severity)


@pytest.mark.parametrize(
    ("masks", "which", "word", "proof"),
    [
        ({}, 15, "handled", "certain"),
        ({"caught": TERM}, 15, "handled", "inferred"),
        ({"ignored": TERM}, 15, "ignored", "certain"),
        ({"blocked": TERM}, 15, "unknown", "inferred"),
        ({}, 28, "ignored", "certain"),
    ],
)
def test_a_program_that_shares_a_namespace_is_no_pid_1(
    masks: dict[str, int], which: int, word: str, proof: str
) -> None:
    """The signal's default action reaches it, and its orphans are somebody else's."""
    scan = Scan()
    scan.init(500, name="sleep", **masks)  # type: ignore[arg-type]
    init = replace(only(scan.done()), first=False)
    name, kind = kind_of(init)
    stop = kind.stop(init, which, assumed=False)
    assert ("shared", word, proof, "unknown") == (name, stop.word, stop.proof, reaps(init, kind)[0])


def test_an_init_that_is_not_pid_1_is_useless() -> None:
    """Tini adopts nobody there, unless it is told -s."""
    for arguments, expected in ((["tini", "--", "app"], True), (["tini", "-s", "--", "app"], False)):
        scan = Scan()
        scan.init(500, name="tini", program="tini", arguments=arguments, sigwait=TERM)
        init = replace(only(scan.done()), first=False)
        found = list(judge(scan.done(), "box", [Subject("box", init)]))
        assert expected is any(each.finding.rule == "init-useless" for each in found)


def test_go_reaps_nobody() -> None:
    """Its runtime catches SIGCHLD whatever the program does; that is no reaping."""
    scan = Scan()
    scan.init(500, name="exporter", caught=GO)
    init = only(scan.done())
    assert "no" == reaps(init, kind_of(init)[1])[0]


def _shell_behind(scan: Scan, *, script: str = "", caught: int = TERM, age: float = 500, name: str = "bash") -> None:
    """A shell with that script, which runs one program in the background."""
    words = [name, "-c", script] if script else [name]
    scan.init(500, name=name, arguments=words, caught=caught | CHLD, any_child=True, age=age)


@pytest.mark.parametrize(
    ("script", "word", "severity"),
    [
        ("trap 'exit 0' TERM; app & wait", "not passed on", "high"),
        ("trap : TERM; app & wait", "not passed on", "high"),
        ("trap 'kill $!; exit 0' TERM; app & wait", "cut off", "medium"),
        ("trap 'kill $!; wait; exit 0' TERM; app & wait", "handled", None),
        ("trap 'kill $c' TERM INT; app & c=$!; wait $c; trap - TERM; wait $c", "handled", None),
        ("stop() { kill $c; wait $c; exit; }\ntrap stop 15\napp & c=$!\nwait $c", "handled", None),
        ("function stop { echo bye; }\ntrap stop TERM\napp & while true; do sleep 1; done", "killed", "high"),
        ("trap 'on=' TERM; app & while [ $on ]; do sleep 1; done", "uncertain", "low"),
        ("trap 'exit 0' HUP; app & wait", "uncertain", "low"),
        ("", "uncertain", "low"),
    ],
)
def test_a_trap_is_judged_by_its_script(script: str, word: str, severity: str | None) -> None:
    """Whether it tells the program behind the shell, waits for it, and ends; what cannot be followed is uncertain."""
    scan = Scan()
    _shell_behind(scan, script=script)
    scan.process(501, name="app", parent=500, ignored=INT | QUIT, caught=TERM)
    name, stop = _stop(scan)
    assert ("shell", word, severity) == (name, stop.word, stop.severity)


def test_a_program_that_would_not_listen_loses_nothing() -> None:
    """A background program with the default action ends in the same way, told or not."""
    scan = Scan()
    _shell_behind(scan, script="trap 'exit 0' TERM; app & wait")
    scan.process(501, name="app", parent=500, ignored=INT | QUIT)
    assert "handled" == _stop(scan)[1].word


def test_where_the_shell_ignores_what_marks_the_background_nothing_is_said_for_certain() -> None:
    """A child inherits ignored signals: that says nothing where the shell itself has them."""
    scan = Scan()
    scan.init(500, name="bash", caught=TERM | CHLD, ignored=INT | QUIT, any_child=True)
    scan.process(501, name="app", parent=500, ignored=INT | QUIT, age=600)
    assert "uncertain" == _stop(scan)[1].word


@pytest.mark.parametrize(("seconds", "word"), [("1", "handled"), ("0.5m", "deferred"), ("infinity", "deferred")])
def test_a_sleep_says_how_long_it_delays_a_trap(seconds: str, word: str) -> None:
    """A trap behind a short sleep runs in time, however young that sleep is; one behind a long sleep does not."""
    scan = Scan()
    _shell_behind(scan, script="trap 'exit 0' TERM; while :; do sleep N; done")
    scan.process(501, name="sleep", parent=500, age=0.5)
    scan.line(501, ["sleep", seconds])
    assert word == _stop(scan)[1].word


def test_the_grace_period_is_the_containers_own() -> None:
    """A foreground child that has run for 20 s may still end in time where there are 60 s."""
    scan = Scan()
    scan.init(500, name="bash", caught=TERM | CHLD, any_child=True)
    scan.process(501, name="job", parent=500, age=20)
    init = only(scan.done())
    words = [kind_of(init)[1].stop(init, 15, assumed=False, grace=grace).word for grace in (10, 60)]
    assert ["deferred", "uncertain"] == words


@pytest.mark.parametrize(
    ("arguments", "script", "word"),
    [
        (["tini", "--"], "trap 'exit 0' TERM; app & wait", "not passed on"),
        (["tini", "-g", "--"], "trap 'exit 0' TERM; app & wait", "cut off"),
        (["tini", "-g", "--"], "trap 'wait; exit 0' TERM; app & wait", "handled"),
        (["tini", "--"], "trap 'wait; exit 0' TERM; app & wait", "deferred"),
        (["tini", "--"], "trap 'kill $!; wait; exit 0' TERM; app & wait", "handled"),
        (["tini", "--"], "trap 'echo bye' TERM; app & while :; do sleep 1; done", "killed"),
    ],
)
def test_a_trap_behind_an_init_is_judged_by_its_script(arguments: list[str], script: str, word: str) -> None:
    """The init ends with the shell, so what the trap does to the program decides."""
    scan = Scan()
    scan.init(500, name="tini", arguments=[*arguments, "bash"], sigwait=FORWARDS)
    scan.process(501, name="bash", parent=500, children=1, caught=TERM)
    scan.line(501, ["bash", "-c", script])
    scan.process(502, name="app", parent=501, ignored=INT | QUIT, caught=TERM)
    assert word == _stop(scan)[1].word


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ("process.on('SIGTERM', () => process.exit(0))", "handled"),
        ('process . once("SIGTERM", stop)', "handled"),
        ("process.on('SIGINT', stop)", "uncertain"),
    ],
)
def test_nodes_script_says_whether_it_listens(script: str, word: str) -> None:
    """A listener that can be read in its own file; the modules that it loads are not read."""
    scan = Scan()
    scan.init(500, name="node", arguments=["node", "server.js"], caught=TERM)
    scan.script(500, script)
    assert word == _stop(scan)[1].word


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["dumb-init", "--rewrite", "15:2", "--", "app"], "ignored"),
        (["dumb-init", "-r", "15:2", "app"], "ignored"),
        (["dumb-init", "-r15:2", "app"], "ignored"),
        (["dumb-init", "--rewrite=15:2", "app"], "ignored"),
        (["dumb-init", "--", "app", "-r", "15:2"], "handled"),
        (["dumb-init", "-r", "1:2", "app"], "handled"),
    ],
)
def test_a_rewritten_signal_is_the_one_that_counts(arguments: list[str], word: str) -> None:
    """dumb-init makes another signal of the one that it gets."""
    scan = Scan()
    scan.init(500, name="dumb-init", arguments=arguments, sigwait=FORWARDS)
    scan.process(501, name="app", parent=500, ignored=INT)
    assert word == _stop(scan)[1].word


@pytest.mark.parametrize(
    ("name", "signal", "word"),
    [
        ("su", 15, "not passed on"),
        ("timeout", 15, "cut off"),
        ("runsvdir", 15, "not passed on"),
        ("runsvdir", 1, "cut off"),
    ],
)
def test_what_stays_before_a_program_is_known(name: str, signal: int, word: str) -> None:
    """Su ends its shell alone, timeout signals the whole group, runsvdir waits for nobody."""
    scan = Scan()
    scan.init(500, name=name, caught=1 << signal - 1)
    scan.process(501, name="sh", parent=500, children=1)
    assert word == _stop(scan, signal=signal)[1].word


@pytest.mark.parametrize(
    ("script", "caught", "word", "proof"),
    [
        ("app; true", 0, "not passed on", "inferred"),
        ("trap 'kill $!; wait; exit' TERM; app & wait", TERM, "handled", "inferred"),
        ("trap 'exit 0' TERM; app & wait", TERM, "uncertain", "inferred"),
    ],
)
def test_a_shell_in_a_shared_namespace_takes_its_program_with_it(
    script: str, caught: int, word: str, proof: str
) -> None:
    """A container ends with its first process, whoever's namespace it is in."""
    scan = Scan()
    scan.init(500, name="dash", arguments=["dash", "-c", script], caught=caught)
    init = only(scan.done())
    init = replace(init, first=False, process=replace(init.process, children=1))
    stop = kind_of(init)[1].stop(init, 15, assumed=False)
    assert (word, proof) == (stop.word, stop.proof)


def test_busybox_init_stays_after_all_others() -> None:
    """It may not reboot, so it is killed; another program of that name is judged by the kernel's rules."""
    scan = Scan()
    scan.init(500, name="busybox", program="busybox", arguments=["init"], caught=TERM)
    assert ("busybox-init", "killed", "high", "inferred") == _judged(scan)
    scan = Scan()
    scan.init(500, name="init", program="init", caught=TERM)
    assert "handled" == _stop(scan)[1].word
