"""Every change that a person can order, declared once: its name, help, arguments and example.

The command line, the API, forms and the documentation are made from `COMMANDS`. A command gives a plan; nothing is
changed before that runs. The names are Razor's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, get_type_hints

from sretoolkit.config import Config
from sretoolkit.errors import ProvisionError
from sretoolkit.plan import Plan, Step
from sretoolkit.provision import node_commands
from sretoolkit.provision.entries import KINDS, Document, meaning, read
from sretoolkit.provision.registry import Registry
from sretoolkit.provision.repos import import_steps
from sretoolkit.provision.steps import SetDocument

Steps = Iterator[Step]


@dataclass(frozen=True)
class Argument:
    """One argument of a command: its kind (str, int, bool, list, dict), what it means, and whether it is needed."""

    name: str
    kind: type
    help: str
    needed: bool = False


@dataclass(frozen=True)
class Command:
    """One change; ``make`` gives the steps that it takes now."""

    name: str
    help: str
    arguments: tuple[Argument, ...]
    example: Mapping[str, Any]
    make: Callable[[Registry, Mapping[str, Any]], Steps]

    def plan(self, registry: Registry, /, **given: Any) -> Plan:
        """The plan; raises `ProvisionError` for an argument that is missing, unknown or of another kind."""
        known = {argument.name: argument for argument in self.arguments}
        for wrong in sorted(set(given) - set(known)):
            raise ProvisionError(f"{self.name} has no argument {wrong!r}", hint=f"it takes: {', '.join(known)}")
        for argument in self.arguments:
            if argument.needed and argument.name not in given:
                raise ProvisionError(
                    f"{self.name} needs {argument.name!r}: {argument.help}", hint=f"such as {dict(self.example)}"
                )
            value = given.get(argument.name)
            if value is not None and (
                not isinstance(value, argument.kind) or (argument.kind is int and isinstance(value, bool))
            ):
                raise ProvisionError(
                    f"{self.name}: {argument.name} must be {argument.kind.__name__}, not {type(value).__name__}"
                )
        return Plan(
            f"provision {self.name} {given.get('name') or given.get('node') or given.get('order') or ''}".strip(),
            self.make(registry, given),
        )

    def schema(self) -> dict[str, Any]:
        """Its arguments as JSON Schema."""
        kinds = {str: "string", int: "integer", bool: "boolean", list: "array", dict: "object"}
        properties = {a.name: {"type": kinds[a.kind], "description": a.help} for a in self.arguments}
        return {
            "type": "object", "description": self.help, "properties": properties, "additionalProperties": False,
            "required": [argument.name for argument in self.arguments if argument.needed], "examples": [dict(self.example)],
        }  # fmt: skip


def _arguments(kind: type[Document]) -> tuple[Argument, ...]:
    """What a document of a kind is made of."""
    hints, means = get_type_hints(kind), meaning(kind)
    found = []
    for item in fields(kind):
        hint = getattr(hints[item.name], "__origin__", hints[item.name])
        needed = item.default is MISSING and item.default_factory is MISSING
        found.append(Argument(item.name, list if hint is tuple else hint, means[item.name], needed))
    return tuple(found)


def _create(kind: str) -> Callable[[Registry, Mapping[str, Any]], Steps]:
    def make(registry: Registry, given: Mapping[str, Any]) -> Steps:
        document = read(kind, {name: value for name, value in given.items() if value is not None})
        there = registry.documents(kind).get(document.name)
        if there is not None and there != document:
            raise ProvisionError(
                f"there is a {kind} {document.name} already, and it is another one", subject=document.name,
                hint=f"`update-{kind}` changes it",
            )  # fmt: skip
        if there is None:
            yield SetDocument(kind=kind, name=document.name, before=None, after=document.to_dict())

    return make


def _update(kind: str) -> Callable[[Registry, Mapping[str, Any]], Steps]:
    def make(registry: Registry, given: Mapping[str, Any]) -> Steps:
        there = registry.document(kind, str(given["name"]))
        changed = read(kind, {**there.to_dict(), **{name: value for name, value in given.items() if value is not None}})
        if changed != there:
            yield SetDocument(kind=kind, name=there.name, before=there.to_dict(), after=changed.to_dict())

    return make


def _delete(kind: str) -> Callable[[Registry, Mapping[str, Any]], Steps]:
    def make(registry: Registry, given: Mapping[str, Any]) -> Steps:
        there = registry.document(kind, str(given["name"]))
        yield SetDocument(kind=kind, name=there.name, before=there.to_dict(), after=None)

    return make


def _move(registry: Registry, given: Mapping[str, Any]) -> Steps:
    """Before or behind another policy: all get new numbers where there is no room between two."""
    if (given.get("before") is None) == (given.get("after") is None):
        raise ProvisionError("move-policy needs one of before and after", hint="the other policy's name")
    moved = registry.document("policy", str(given["name"]))
    other = registry.document("policy", str(given.get("before") or given.get("after")))
    if moved == other:
        raise ProvisionError(f"{moved.name} cannot stand before or behind itself")
    names = [policy.name for policy in sorted(registry.policies().values(), key=lambda p: p.rank) if policy != moved]
    names.insert(names.index(other.name) + (given.get("after") is not None), moved.name)
    for place, name in enumerate(names, start=1):
        before = registry.document("policy", name).to_dict()
        after = {**before, "order": place * 10}
        if before.get("order") != place * 10:
            yield SetDocument(kind="policy", name=name, before=before, after=after)


def _tag_of_policy(add: bool) -> Callable[[Registry, Mapping[str, Any]], Steps]:
    def make(registry: Registry, given: Mapping[str, Any]) -> Steps:
        policy = registry.policies()[registry.document("policy", str(given["name"])).name]
        tag = str(given["tag"])
        if add:
            registry.document("tag", tag)
        tags = [name for name in policy.tags if name != tag] + ([tag] if add else [])
        if tags != list(policy.tags):
            after = {key: value for key, value in policy.to_dict().items() if key != "tags"} | (
                {"tags": tags} if tags else {}
            )
            yield SetDocument(kind="policy", name=policy.name, before=policy.to_dict(), after=after)

    return make


def _enable(enabled: bool) -> Callable[[Registry, Mapping[str, Any]], Steps]:
    return lambda registry, given: _update("policy")(registry, {"name": given["name"], "enabled": enabled})


_NAME = Argument("name", str, "its name", True)
_POLICY = Argument("name", str, "the policy", True)
_TAG = Argument("tag", str, "the tag", True)


def _documents() -> Iterator[Command]:
    for kind, document in KINDS.items():
        arguments = _arguments(document)
        loose = tuple(Argument(a.name, a.kind, a.help, a.name == "name") for a in arguments)
        name = str(document.example["name"])
        article = "an" if kind[0] in "aeio" else "a"
        yield Command(f"create-{kind}", f"Write {article} {kind} down.", arguments, document.example, _create(kind))
        yield Command(
            f"update-{kind}",
            f"Change {article} {kind}; what is not given stays.",
            loose,
            document.example,
            _update(kind),
        )
        yield Command(f"delete-{kind}", f"Remove {article} {kind}.", (_NAME,), {"name": name}, _delete(kind))


def _policies() -> Iterator[Command]:
    other = (
        Argument("before", str, "the policy that is to come next"),
        Argument("after", str, "the policy that is to come first"),
    )
    example = {"name": "web", "tag": "big"}
    both = (_POLICY, _TAG)
    yield Command("enable-policy", "Let a policy take machines.", (_POLICY,), {"name": "web"}, _enable(True))
    yield Command("disable-policy", "Let a policy take no more machines.", (_POLICY,), {"name": "web"}, _enable(False))
    yield Command(
        "move-policy", "Put a policy before or behind another one.", (_POLICY, *other),
        {"name": "web", "before": "rest"}, _move,
    )  # fmt: skip
    yield Command("add-policy-tag", "Let a policy want one more tag.", both, example, _tag_of_policy(True))
    yield Command("remove-policy-tag", "Let a policy want one tag less.", both, example, _tag_of_policy(False))


def _import(registry: Registry, given: Mapping[str, Any]) -> Steps:
    yield from import_steps(registry, Config.load(), str(given["name"]))


def _machines() -> Iterator[Command]:
    for name, meant, arguments, example, make in node_commands.DECLARED:
        yield Command(name, meant, tuple(Argument(*argument) for argument in arguments), example, make)


IMPORT = Command("import-repo", "Copy a repo's files here, and check them.", (_NAME,), {"name": "debian-12"}, _import)
COMMANDS: dict[str, Command] = {
    command.name: command for command in (*_documents(), IMPORT, *_policies(), *_machines())
}
