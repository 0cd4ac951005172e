"""What a word on the command line means: a host, a container, an image, a file, hosts by tag. Never a guess."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from sretoolkit.clock import Clock
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, HostError
from sretoolkit.hosts import Fleet, connect
from sretoolkit.hosts.endpoint import LOCAL_NAMES
from sretoolkit.hosts.inventory import INVENTORIES
from sretoolkit.pid1.lint import judge, starts
from sretoolkit.pid1.lint.formats.image import described
from sretoolkit.pid1.look import AS_IT_IS, How
from sretoolkit.pid1.outlook import watched
from sretoolkit.pid1.runtimes._inspect import Inspected
from sretoolkit.pid1.sighting import Sighting
from sretoolkit.pid1.signals import number
from sretoolkit.pid1.survey import Survey, joined, survey, unanswered
from sretoolkit.pid1.workload import RUNTIMES

Kind = Literal["host", "fleet", "container", "image", "file", "kubernetes"]
_TIMEOUT = 60.0
_HERE = "localhost"
# One word, two questions, each of every runtime that is there: nothing is started or pulled.
_ASK = """for program in "$@"; do
  command -v "$program" >/dev/null 2>&1 || continue
  for kind in container image; do
    "$program" inspect --type "$kind" "$SRETOOLKIT_NAME" >/dev/null 2>&1 && echo "$kind"
  done
done
exit 0"""


@dataclass(frozen=True)
class Target:
    """One thing to look at; ``part`` is a stage or service of a file."""

    kind: Kind
    name: str
    part: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}{f'#{self.part}' if self.part else ''}"


def resolve(word: str, config: Config) -> Target:
    """The one thing that a word can mean; raises `ConfigError` for nothing, and for several, with their prefix forms."""
    kind, colon, name = word.partition(":")
    if colon and kind in get_args(Kind):
        if not name:
            raise ConfigError(f"{word!r} names nothing", hint=f"write {kind}:NAME")
        path, _, part = name.partition("#") if kind == "file" else (name, "", "")
        return Target(kind, path, part)  # type: ignore[arg-type]
    if word.startswith("ssh://"):
        return Target("host", word)
    found = _meanings(word, config)
    if len(found) > 1:
        choices = ", ".join(str(each) for each in found)
        raise ConfigError(
            f"{word!r} can mean several things: {choices}", hint="write the one that is meant, prefix and all"
        )
    if not found:
        what = f"{word!r} is no host, tag, file, and no container or image of this machine's runtimes"
        forms = "host:NAME, fleet:TAG, container:HOST/NAME, image:NAME, file:PATH#STAGE, kubernetes:CONTEXT/NAMESPACE"
        hint = f"prefixes say what is meant: {forms}"
        raise ConfigError(what, hint=hint)
    return found[0]


def scan(
    words: Sequence[str],
    config: Config | None = None,
    how: How = AS_IT_IS,
    *,
    clock: Clock | None = None,
) -> Survey:
    """Look at all of them; every word is understood before anything is looked at.

    Raises `ConfigError` for bad words, and `HostError` for a single one that is not there (among several: a finding).
    """
    config, clock = config or Config.load(), clock or Clock()
    number(how.stop_signal or "SIGTERM")
    targets = list(dict.fromkeys(resolve(word, config) for word in words or (_HERE,)))
    if len(targets) == 1:
        return _KINDS[targets[0].kind](targets[0], config, how, clock)
    return joined([_among_others(target, config, how, clock) for target in targets], clock)


def _among_others(target: Target, config: Config, how: How, clock: Clock) -> Survey:
    """One that cannot be looked at is a finding beside the others'."""
    try:
        return _KINDS[target.kind](target, config, how, clock)
    except HostError as error:
        return replace(unanswered(str(target), error, clock.now()), hosts={})


def _meanings(word: str, config: Config) -> list[Target]:
    found = []
    if word in config.names("hosts") or word in LOCAL_NAMES:
        found.append(Target("host", word))
    path, _, part = word.partition("#")
    if Path(word).exists():
        found.append(Target("file", word))
    elif part and Path(path).is_file():
        found.append(Target("file", path, part))
    tags = INVENTORIES["static"](config).hosts()
    if (word == "all" and tags) or any(word in own for own in tags.values()):
        found.append(Target("fleet", word))
    host, slash, name = word.partition("/")
    if slash and name and (host in config.names("hosts") or host in LOCAL_NAMES):
        found.append(Target("container", word))
    if not any(each.kind == "file" for each in found) or not slash:
        found += _running_or_stored(word, config)
    return found


def _running_or_stored(word: str, config: Config) -> list[Target]:
    """What the runtimes of this machine call by that name; one that does not answer has nothing to say."""
    if word.startswith("-"):
        return []
    with connect(_HERE, config) as host:
        asked = ["env", f"SRETOOLKIT_NAME={word}", "sh", "-c", _ASK, "sh", *_programs()]
        kinds = host.run(asked, timeout=_TIMEOUT, check=False).stdout.split()
    order: tuple[Kind, ...] = ("container", "image")
    return [Target(kind, word) for kind in order if kind in kinds]


def _programs() -> list[str]:
    """Those runtimes whose program can be asked for one container or image by its name."""
    kinds = (RUNTIMES[name] for name in RUNTIMES)
    return [kind.program for kind in kinds if issubclass(kind, Inspected)]


def _host(target: Target, config: Config, how: How, clock: Clock) -> Survey:
    """A name that nobody knows is a mistake, a host that does not answer a finding."""
    with connect(target.name, config) as host:
        try:
            return Survey.of(watched(host, how), clock)
        except (HostError, ValueError) as error:
            return unanswered(host.name, error, clock.now())


def _fleet(target: Target, config: Config, how: How, clock: Clock) -> Survey:
    """TAG, or TAG@INVENTORY."""
    tag, _, inventory = target.name.partition("@")
    with Fleet.of(tag, inventory=inventory or "static", config=config) as fleet:
        return survey(fleet, how, clock=clock)


def _container(target: Target, config: Config, how: How, clock: Clock) -> Survey:
    """NAME on this machine, or HOST/NAME; one that is not there cannot be looked at, so that is no finding."""
    host_name, slash, name = target.name.partition("/")
    if not slash:
        host_name, name = _HERE, target.name
    with connect(host_name, config) as host:
        return Survey.of(watched(host, how), clock, container=name)


def _image(target: Target, config: Config, how: How, clock: Clock) -> Survey:
    """An image that this machine has, by its configuration alone; nothing is pulled or started."""
    with connect(_HERE, config) as host:
        said = []
        for program in _programs():
            done = host.run([program, "inspect", "--type", "image", target.name], timeout=_TIMEOUT, check=False)
            if not done.ok:
                said += done.stderr.strip().splitlines()[-1:]
                continue
            try:
                found = described(json.loads(done.stdout)[0], target.name, f"image:{target.name}")
            except (ValueError, IndexError, TypeError, AttributeError) as error:
                what = f"{program} describes {target.name} in a form that is not known here"
                raise HostError(what, host=host.name, hint=f"{program} version") from error
            return Survey(at=clock.now(), files=(found.path,), active=tuple(judge(found)))
        reason = f"this machine has no image {target.name!r} that can be read: {'; '.join(said)[:300]}"
        raise HostError(reason, host=host.name, hint="pull it first, or name a file: docker save IMAGE > image.tar")


def _file(target: Target, config: Config, how: How, clock: Clock) -> Survey:
    found = starts(Path(target.name), target=target.part)
    files = tuple(dict.fromkeys(start.path for start in found))
    return Survey(at=clock.now(), files=files, active=tuple(each for start in found for each in judge(start)))


def _kubernetes(target: Target, config: Config, how: How, clock: Clock) -> Survey:
    """CONTEXT/NAMESPACE; "" = the current context, all namespaces. Nothing is executed in a pod unless that is asked for."""
    from sretoolkit.pid1 import cluster

    context, slash, namespace = target.name.rpartition("/")
    began = clock.now()
    names = (context, namespace) if slash else (namespace, "")
    found = cluster.survey(*names, execute=how.execute, config=config)
    host = f"kubernetes:{found.cluster}"
    told = [
        Sighting(
            finding=finding,
            host=host,
            container=f"{each.container.namespace}/{each.container.controller}/{each.container.name}",
            image=each.container.workload.image,
            owner=each.container.workload.owner,
        )
        for each in found.seen
        for finding in each.findings
    ]
    troubles = [Sighting(finding=trouble, host=host) for trouble in found.troubles]
    lost = {host: found.troubles[0].summary} if found.troubles and not found.seen else {}
    return Survey(at=began, hosts={host: ""}, missing=lost, active=(*troubles, *told))


_KINDS: dict[Kind, Callable[[Target, Config, How, Clock], Survey]] = {
    "host": _host, "fleet": _fleet, "container": _container, "image": _image, "file": _file,
    "kubernetes": _kubernetes,
}  # fmt: skip
