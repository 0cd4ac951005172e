"""What an administrator writes down: tags, repositories, policies, brokers and hooks, each a document with a name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Self, get_origin, get_type_hints

from sretoolkit.config import SECRET_NAMES
from sretoolkit.errors import ProvisionError
from sretoolkit.provision.rule import compiled
from sretoolkit.secrets import Secret

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_HOSTNAME = re.compile(r"[A-Za-z0-9.${}_-]{1,200}")


@dataclass(frozen=True, kw_only=True)
class Document:
    """One named document; ``kind`` is the word by which it is stored and typed."""

    kind: ClassVar[str]
    example: ClassVar[Mapping[str, Any]]

    name: Annotated[str, "its name: letters, digits, dot, dash, underscore"]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ProvisionError(
                f"{self.name!r} is no name for a {self.kind}", hint="letters, digits, . _ - ; at most 63"
            )
        self.check()

    def check(self) -> None:
        """Raise `ProvisionError` when the document makes no sense by itself."""

    def to_dict(self) -> dict[str, Any]:
        """Everything but what is as usual, as JSON data."""
        given: dict[str, Any] = {"name": self.name}
        for item in fields(self):
            value = getattr(self, item.name)
            usual = item.default_factory() if callable(item.default_factory) else item.default
            if item.name != "name" and value != usual:
                given[item.name] = list(value) if isinstance(value, tuple) else value
        return given

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Read one; raises `ProvisionError` for an option that is missing, unknown, of another type or a clear secret."""
        known = {item.name: item for item in fields(cls)}
        what = f"the {cls.kind} {given.get('name', '')!r}"
        for wrong in sorted(set(given) - set(known)):
            near = get_close_matches(wrong, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"its options: {', '.join(known)}"
            raise ProvisionError(f"{what} has no option {wrong!r}", subject=str(given.get("name", "")), hint=hint)
        for name, item in known.items():
            if _needed(item) and name not in given:
                raise ProvisionError(f"{what} needs {name!r}: {meaning(cls)[name]}")
        hints = get_type_hints(cls)
        return cls(**{name: _typed(what, name, hints[name], value) for name, value in given.items()})


@dataclass(frozen=True, kw_only=True)
class Tag(Document):
    """A name for all machines that a rule is true of."""

    kind: ClassVar[str] = "tag"
    example: ClassVar[Mapping[str, Any]] = {"name": "big", "rule": [">=", ["num", ["fact", "cpus"]], 8]}

    rule: Annotated[list[Any], "when a machine has it: JSON in prefix form"]

    def check(self) -> None:
        """The rule can be asked."""
        compiled(self.rule)


@dataclass(frozen=True, kw_only=True)
class Repo(Document):
    """What an installation is made of: a raw disk image, or an installer's kernel and initrd."""

    kind: ClassVar[str] = "repo"
    example: ClassVar[Mapping[str, Any]] = {
        "name": "debian-12", "image": "disk.img.gz", "image_format": "gz", "image_sha256": "0" * 64,
        "image_bytes": 738197504, "seed_partition": 2, "seed_path": "/var/lib/cloud/seed/nocloud",
    }  # fmt: skip

    url: Annotated[str, "where its files come from (http, https or file); they are copied and checked once"] = ""
    files: Annotated[dict[str, str], "SHA-256 of each file, by its name"] = field(default_factory=dict)
    image: Annotated[str, "the file that is written onto the disk"] = ""
    image_format: Annotated[str, "raw, gz, xz or zst"] = "raw"
    image_sha256: Annotated[str, "SHA-256 of the raw bytes"] = ""
    image_bytes: Annotated[int, "how many raw bytes"] = 0
    seed_partition: Annotated[int, "the partition that takes the machine's own files; 0: none"] = 0
    seed_path: Annotated[str, "the folder in it"] = "/var/lib/cloud/seed/nocloud"
    kernel: Annotated[str, "an installer's kernel"] = ""
    initrd: Annotated[str, "an installer's initrd"] = ""

    def check(self) -> None:
        """An image has a digest and a size, an installer has a kernel and an initrd."""
        if self.image_format not in ("raw", "gz", "xz", "zst"):
            raise ProvisionError(
                f"{self.name}: image_format cannot be {self.image_format!r}", hint="raw, gz, xz or zst"
            )
        if self.image and not (_DIGEST.fullmatch(self.image_sha256) and self.image_bytes > 0):
            raise ProvisionError(
                f"{self.name}: an image needs image_sha256 and image_bytes of its raw bytes",
                hint="zcat disk.img.gz | tee >(wc -c >&2) | sha256sum",
            )
        if self.image_bytes % 512 or self.seed_partition < 0:
            raise ProvisionError(f"{self.name}: image_bytes must be whole sectors of 512, seed_partition not negative")
        if wrong := [
            name for name, digest in self.files.items() if not _DIGEST.fullmatch(digest) or not is_file_name(name)
        ]:
            raise ProvisionError(f"{self.name}: files: {wrong[0]!r} is no file name with a SHA-256 in hexadecimal")
        if wrong := [name for name in (self.image, self.kernel, self.initrd) if name and not is_file_name(name)]:
            raise ProvisionError(f"{self.name}: {wrong[0]!r} is no file name")


@dataclass(frozen=True, kw_only=True)
class Policy(Document):
    """Which machines are installed with what. The first enabled one whose tags a machine has is its own."""

    kind: ClassVar[str] = "policy"
    example: ClassVar[Mapping[str, Any]] = {
        "name": "web", "task": "image", "repo": "debian-12", "tags": ["big"], "hostname": "web${id}.example",
        "broker": "noop", "max_count": 20, "order": 10,
    }  # fmt: skip

    task: Annotated[str, "how it is installed: a folder of tasks/"]
    repo: Annotated[str, "what is installed"] = ""
    tags: Annotated[tuple[str, ...], "all of these must be true of the machine; none: every machine"] = ()
    broker: Annotated[str, "who takes over afterwards"] = ""
    hostname: Annotated[str, "pattern: ${id}, ${serial}, ${mac}, ${count}, ${hostname} (of its metadata)"] = "${id}"
    root_password: Annotated[
        str, "reference to the hash of its password (env:X, file:/p, vault:...); never the password"
    ] = ""
    ssh_keys: Annotated[tuple[str, ...], "public keys that may log in"] = ()
    max_count: Annotated[int, "at most so many machines; 0: any number"] = 0
    order: Annotated[int, "lower comes first; equal ones by name"] = 1000
    enabled: Annotated[bool, "whether it takes new machines"] = True
    automatic: Annotated[bool, "install without an order, but only onto disks that are empty"] = False
    disk: Annotated[str, "serial number or name of the disk; empty: the only one"] = ""
    metadata: Annotated[dict[str, Any], "given to its machines; never overwrites theirs"] = field(default_factory=dict)

    def check(self) -> None:
        """Names are names, the password is a reference."""
        if self.root_password and not Secret.is_reference(self.root_password):
            raise ProvisionError(
                f"the policy {self.name}: root_password holds a secret in clear text",
                hint='write a reference: "env:NAME", "file:/path", "keyring:service/user" or "vault:path#key"',
            )
        if not _HOSTNAME.fullmatch(self.hostname):
            raise ProvisionError(f"the policy {self.name}: {self.hostname!r} is no pattern of host names")
        if self.max_count < 0:
            raise ProvisionError(f"the policy {self.name}: max_count cannot be negative")
        if wrong := next((key for key in self.ssh_keys if "PRIVATE" in key or "\n" in key), ""):
            raise ProvisionError(f"the policy {self.name}: {wrong[:20]!r}... is no public key", hint="one line a key")

    @property
    def rank(self) -> tuple[int, str]:
        """Where it stands among the others."""
        return self.order, self.name


@dataclass(frozen=True, kw_only=True)
class Broker(Document):
    """Who takes a machine over once it is installed: a plug-in of ``brokers/`` with its options."""

    kind: ClassVar[str] = "broker"
    example: ClassVar[Mapping[str, Any]] = {
        "name": "site",
        "uses": "webhook",
        "options": {"url": "https://cmdb.example"},
    }

    uses: Annotated[str, "the plug-in: noop, ssh-run, ansible, puppet, webhook, runbook"]
    options: Annotated[dict[str, Any], "its options"] = field(default_factory=dict)

    def check(self) -> None:
        """No secret in clear text."""
        _no_secrets(f"the broker {self.name}", self.options)


@dataclass(frozen=True, kw_only=True)
class Hook(Document):
    """A program that is told of events, and may set metadata: JSON in, JSON out, as Razor's."""

    kind: ClassVar[str] = "hook"
    example: ClassVar[Mapping[str, Any]] = {
        "name": "cmdb", "command": ["/usr/local/bin/cmdb-hook"], "events": ["node-registered", "node-install-finished"],
    }  # fmt: skip

    command: Annotated[tuple[str, ...], "the program and its arguments"]
    events: Annotated[tuple[str, ...], "which events; none: all of them"] = ()
    configuration: Annotated[dict[str, Any], "given to it, and changed by what it answers"] = field(
        default_factory=dict
    )
    timeout: Annotated[int, "seconds; then it is killed"] = 30

    def check(self) -> None:
        """It has a program, known events and no secret in clear text."""
        _no_secrets(f"the hook {self.name}", self.configuration)
        if not self.command or not 1 <= self.timeout <= 3600:
            raise ProvisionError(f"the hook {self.name} needs a command and a timeout of 1 to 3600 seconds")
        if wrong := sorted(set(self.events) - set(EVENTS)):
            raise ProvisionError(f"the hook {self.name}: there is no event {wrong[0]!r}", hint=", ".join(EVENTS))


EVENTS = (
    "node-booted", "node-registered", "node-facts-changed", "node-bound-to-policy", "node-unbound-from-policy",
    "node-install-finished", "node-deleted",
)  # fmt: skip
KINDS: dict[str, type[Document]] = {kind.kind: kind for kind in (Tag, Repo, Policy, Broker, Hook)}


def read(kind: str, given: Mapping[str, Any]) -> Document:
    """A document of a kind; raises `ProvisionError`."""
    if kind not in KINDS:
        raise ProvisionError(f"there is no kind {kind!r}", hint=f"one of {', '.join(KINDS)}")
    return KINDS[kind].of(given)


def is_file_name(name: str) -> bool:
    """Whether it is a relative path that stays below where it is looked up, and can stand in a URL as it is."""
    return bool(re.fullmatch(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*", name)) and ".." not in name.split("/")


def meaning(kind: type[Document]) -> dict[str, str]:
    """What each option of a kind of document means."""
    hints = get_type_hints(kind, include_extras=True)
    return {item.name: hints[item.name].__metadata__[0] for item in fields(kind)}


def _needed(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def _typed(what: str, name: str, hint: Any, value: Any) -> Any:
    wanted = get_origin(hint) or hint
    if wanted is tuple:
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise ProvisionError(f"{what}: {name} must be a list of text")
        return tuple(value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise ProvisionError(f"{what}: {name} must be {wanted.__name__}, not {type(value).__name__}")
    return value


def _no_secrets(what: str, options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if isinstance(value, Mapping):
            _no_secrets(what, value)
        elif isinstance(value, str) and SECRET_NAMES.search(name) and not Secret.is_reference(value):
            raise ProvisionError(
                f"{what}: {name} holds a secret in clear text", hint='write a reference such as "env:NAME"'
            )
