"""From how a container is written down to findings: the same rules as for what runs, as far as a file can tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from sretoolkit.errors import ConfigError
from sretoolkit.pid1.lint.chain import Chain, follow
from sretoolkit.pid1.lint.programs import WHY, is_systemd, reaps, stops
from sretoolkit.pid1.lint.start import Start
from sretoolkit.pid1.sighting import Sighting
from sretoolkit.pid1.signals import RTMIN, name, number
from sretoolkit.pid1.traps import trap
from sretoolkit.pid1.workload import Fix, remedy
from sretoolkit.report import Finding, Severity

_NEVER_HANDLED = ("SIGKILL", "SIGSTOP")
_SHELLS = {"dash": "dash", "bash": "bash", "busybox": "busybox's sh", "unknown": "the shell"}


class _Words(dict[str, str]):
    """Leaves a placeholder that nobody fills as it is."""

    def __missing__(self, key: str) -> str:
        return f"<{key}>"


def judge(start: Start) -> list[Sighting]:
    """All that can be said of one container; what depends on what is not written here is called uncertain or unknown."""
    chain = follow(start)
    rules = (_signal, _grace, _unknown, _stop, _reaping, _useless, _unlimited)
    return [sighting for rule in rules for sighting in rule(start, chain)]


def _sighting(
    start: Start,
    rule: str,
    severity: Severity,
    summary: str,
    *,
    why: str,
    fix: Fix | None = None,
    cure: str = "",
    at: str = "command",
    about: Mapping[str, str] | None = None,
) -> Sighting:
    line = start.at(at)
    filled = _Words(about or {})
    if fix:
        told = start.words.get(fix)
        cure = told.format_map(filled) if told else remedy(fix, None, **(about or {}))
    if start.caveat and at == "command" and rule != "blind":
        severity = "medium" if severity == "high" else severity
        why = f"{why}; {start.caveat}"
    finding = Finding(
        severity=severity,
        subject=start.subject,
        summary=summary,
        evidence=f"{start.path}:{line}: {why}",
        proof="inferred",
        remedy=cure,
        rule=rule,
    )
    place = {"path": start.path, "image": start.image, "owner": start.owner, "container": start.subject}
    return Sighting(finding=finding, line=line, **place)


def _asked(start: Start) -> str:
    """By name; SIGTERM in place of one that `_signal` finds wrong."""
    try:
        given = name(start.stop_signal or "SIGTERM")
    except ConfigError:
        return "SIGTERM"
    return "SIGTERM" if given in _NEVER_HANDLED else given


def _signal(start: Start, _: Chain) -> Iterator[Sighting]:
    """A stop signal that nobody knows, or that cannot be handled."""
    if start.stop_signal is None or "$" in start.stop_signal:
        return
    try:
        number(start.stop_signal)
    except ConfigError:
        why, cure = f"{start.stop_signal!r} is no signal", "write it as SIGTERM or SIGRTMIN+3"
        summary = "its stop signal is none: it can be neither built nor started so"
        yield _sighting(start, "stop-signal-invalid", "high", summary, why=why, cure=cure, at="stop_signal")
        return
    if start.refused:
        summary, cure = "its stop signal is not taken as it is written", "spec.os: {name: linux} beside it"
        yield _sighting(start, "stop-signal-invalid", "medium", summary, why=start.refused, cure=cure, at="stop_signal")
    if name(start.stop_signal) in _NEVER_HANDLED:
        why = f"the stop signal is {name(start.stop_signal)}, which no program can handle"
        summary = "it is killed at once: it cannot finish what it does"
        about = {"what": "SIGTERM"}
        yield _sighting(
            start, "stop-killed", "high", summary, why=why, fix="stop-signal", at="stop_signal", about=about
        )


def _grace(start: Start, _: Chain) -> Iterator[Sighting]:
    """No time to stop, or a hook that takes all of it."""
    if start.grace is None:
        return
    if start.grace <= 0:
        cure = "give it the seconds that it needs to finish"
        why, summary = "its grace period is 0 s", "it is killed at once: it has no time to stop"
        yield _sighting(start, "grace-none", "medium", summary, why=why, cure=cure, at="grace")
    elif start.before_stop >= start.grace:
        why = f"preStop takes {start.before_stop:g} s of a grace period of {start.grace:g} s: it counts from the same moment"
        summary = "it is told to stop when its time is already over; it is killed"
        cure = f"terminationGracePeriodSeconds: {start.before_stop + 30:g}, or a shorter preStop"
        yield _sighting(start, "stop-deferred", "high", summary, why=why, cure=cure, at="grace")


def _unknown(start: Start, chain: Chain) -> Iterator[Sighting]:
    if start.command is None:
        summary = "what is started cannot be read here, so nothing is said of how it stops"
        cure = "look at the image (sretoolkit pid1 image:NAME), or at the running container"
        yield _sighting(start, "blind", "info", summary, why=start.unknown_because, cure=cure)
    elif not start.command:
        summary = "nothing is started: it has neither ENTRYPOINT nor CMD"
        yield _sighting(start, "blind", "info", summary, why="no command is written", cure="give it a command")


def _stop(start: Start, chain: Chain) -> Iterator[Sighting]:
    if not start.command:
        return
    if is_systemd(chain.words) and not chain.shell:
        yield from _systemd(start, chain)
    elif chain.shell:
        yield from _shell(start, chain)
    elif not chain.init and not start.init and not start.shared:
        yield from _program(start, chain)


def _systemd(start: Start, chain: Chain) -> Iterator[Sighting]:
    if start.stop_signal is not None and number(_asked(start)) in (RTMIN + 3, RTMIN + 4):
        return
    signal = _asked(start)
    why = f"{chain.words[0]} is systemd, which shuts down at SIGRTMIN+3 and starts itself anew at SIGTERM"
    about = {"what": "SIGRTMIN+3", "signal": signal}
    if start.stop_signal is None and not start.signal_sure:
        why += "; the image may set the stop signal, which is not written here"
        summary = f"{signal} may not stop it"
        yield _sighting(start, "stop-uncertain", "medium", summary, why=why, fix="stop-signal", about=about)
        return
    summary = f"{signal} does not stop it; it is killed after the grace period"
    yield _sighting(start, "stop-killed", "high", summary, why=why, fix="stop-signal", about=about)


def _shell(start: Start, chain: Chain) -> Iterator[Sighting]:
    """A shell stays before the program: it passes nothing on."""
    signal, shell, program = _asked(start), _SHELLS[chain.shell or "unknown"], chain.program or "the program"
    about = {"what": program, "signal": signal, "exec": _exec(chain)}
    init = chain.init or ("its init" if start.init else "")
    if chain.group and init:
        yield from _cut_off(start, chain, shell, about)
        return
    if chain.end == "unclear" or (chain.end == "single" and chain.shell == "unknown"):
        yield from _unclear(start, chain, shell, about)
        return
    if chain.trap and chain.end == "waits":
        yield from _by_trap(start, chain, shell, about)
        return
    if chain.trap:
        why = f"{shell} runs {program} in the foreground: its trap is only run when that has ended"
        summary = f"{signal} will be handled too late; it is killed after the grace period"
        yield _sighting(start, "stop-deferred", "medium", summary, why=why, fix="background", about=about)
        return
    why = f"{shell} stays before {program} and passes no signal on"
    if init or start.shared:
        by = f"{init} ends it" if init else "it ends"
        summary = f"the program is not told of {signal}"
        why += f"; {by} at once and {program} is killed without warning"
        fix: Fix = "exec-behind" if init else "exec"
        yield _sighting(start, "stop-not-passed-on", "high", summary, why=why, fix=fix, about=about)
        return
    summary = f"{signal} will be dropped; it is killed after the grace period"
    yield _sighting(
        start,
        "stop-dropped",
        "high",
        summary,
        why=why + " and has no trap: the kernel drops it",
        fix="exec",
        about=about,
    )


def _by_trap(start: Start, chain: Chain, shell: str, about: dict[str, str]) -> Iterator[Sighting]:
    """The program runs in the background, and the trap says whether it is told and waited for."""
    signal, program = about["signal"], about["what"]
    found = trap(chain.text, number(_asked(start)))
    if found is None or not found.ends or (found.tells and found.waits):
        return
    why = f"the trap of {shell} ends it and does not wait for {program}"
    cure = f"trap 'kill $!; wait' {signal.removeprefix('SIG')} before {program} & wait, or end the script with exec"
    if found.tells:
        summary = f"the program is told of {signal}, and may be killed while it shuts down"
        yield _sighting(start, "stop-cut-off", "medium", summary, why=why, cure=cure)
    elif not found.waits:
        why = f"the trap of {shell} ends it and does not tell {program}, which is killed without warning"
        yield _sighting(start, "stop-not-passed-on", "high", f"the program is not told of {signal}", why=why, cure=cure)


def _cut_off(start: Start, chain: Chain, shell: str, about: dict[str, str]) -> Iterator[Sighting]:
    """The whole group is told, and the init ends with the shell, which is its child."""
    if chain.trap or chain.end == "unclear" or (chain.end == "single" and chain.shell == "unknown"):
        return
    summary = f"the program is told of {about['signal']}, and may be killed while it shuts down"
    why = f"{chain.init} tells {shell} and {about['what']}; {shell} ends at once, {chain.init} with it: what is left is killed"
    yield _sighting(start, "stop-cut-off", "medium", summary, why=why, fix="exec-behind", about=about)


def _unclear(start: Start, chain: Chain, shell: str, about: dict[str, str]) -> Iterator[Sighting]:
    if chain.end == "single":
        why = (
            f"/bin/sh starts {chain.program}: dash (Debian, Ubuntu) stays before it and the signal is dropped; bash and "
            "busybox become it; which one it is cannot be read here"
        )
        summary = f"{about['signal']} may not stop it"
        yield _sighting(start, "stop-uncertain", "medium", summary, why=why, fix="exec", about=about)
    else:
        why = chain.why or f"{shell} runs a script in which not every way ends with exec"
        cure = 'let every way through the script end with exec, as in: exec "$@"'
        summary = f"{about['signal']} may not stop it"
        yield _sighting(start, "stop-uncertain", "low", summary, why=why, cure=cure)


def _program(start: Start, chain: Chain) -> Iterator[Sighting]:
    signal, program = _asked(start), chain.program or (chain.words[0] if chain.words else "the program")
    answer = stops(program) if chain.program else "unknown"
    if answer == "handles":
        return
    why = chain.why or WHY[answer].format(program=program)
    about = {"what": program, "signal": signal}
    if answer == "drops":
        summary = f"{signal} will be dropped; it is killed after the grace period"
        yield _sighting(start, "stop-dropped", "high", summary, why=why, fix="init", about=about)
        return
    severity: Severity = "medium" if answer == "catches" else "info" if answer == "unknown" and not chain.why else "low"
    summary = f"{signal} may not stop it: it is the first process, and depends on its own handler"
    fix: Fix = "exec" if chain.why and chain.program else "init"
    yield _sighting(start, "stop-uncertain", severity, summary, why=why, fix=fix, about=about)


def _reaping(start: Start, chain: Chain) -> Iterator[Sighting]:
    if not start.command or chain.init or start.init or start.shared or chain.shell or is_systemd(chain.words):
        return
    program, answer = chain.program or "the program", reaps(chain.program) if chain.program else None
    if answer or (answer is None and not start.executes):
        return
    said = f"{program} does not wait for children that are not its own"
    if answer is None:
        said = f"whether {program} waits for children that are not its own cannot be read here"
    why = f"{said}; {start.executes} is executed in it again and again" if start.executes else said
    severity: Severity = "medium" if start.executes and answer is False else "low"
    summary = f"orphans{' of its health checks' if start.executes else ''} {'may' if answer is None else 'would'} stay as zombies"
    at = "health" if start.executes else "command"
    yield _sighting(start, "reaping-latent", severity, summary, why=why, fix="init", at=at, about={"what": program})


def _useless(start: Start, chain: Chain) -> Iterator[Sighting]:
    if start.shared and PurePosixPath(chain.init).name.startswith("tini") and not chain.subreaper:
        why = "its processes are in a namespace with another first process, so that tini inherits no orphans"
        summary = "its init is useless: it is not PID 1"
        yield _sighting(start, "init-useless", "low", summary, why=why, fix="subreaper")


def _unlimited(start: Start, _: Chain) -> Iterator[Sighting]:
    if start.pids is False:
        summary = "nothing here limits its process ids: one leak can take the node"
        yield _sighting(
            start,
            "ids-unlimited",
            "medium",
            summary,
            why="no limit is written",
            fix="limit",
            at="pids",
            about={"name": start.subject},
        )


def _exec(chain: Chain) -> str:
    """The command that the shell should become."""
    import shlex

    return "exec " + " ".join(word if word.startswith("$") else shlex.quote(word) for word in chain.words)
