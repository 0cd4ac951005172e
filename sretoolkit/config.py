"""Configuration: argument > environment > project file > user file > default, and every value knows its origin.

A file is TOML. Settings (``store.url``) are those of `SETTINGS`; endpoints are tables of tables with a name of the
user's own::

    [store]
    url = "postgresql+psycopg://sre@db.example/sretoolkit"

    [hosts.web1]
    connection = "ssh"
    address = "web1.example"

    [sources.prod]
    kind = "prometheus"
    url = "https://prometheus.example"
    token = "env:PROM_TOKEN"

What is a secret is written as a reference (`sretoolkit.secrets.Secret`), never as a value.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sretoolkit.clock import parse_duration
from sretoolkit.errors import ConfigError
from sretoolkit.secrets import Secret

FILE_NAME = "sretoolkit.toml"
ENDPOINTS = ("hosts", "sources")
SECRET_NAMES = re.compile(r"(password|passphrase|token|secret|api_?key|credential)s?$", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?<=://)([^/@\s:]*):([^/@\s]+)@")


def state_folder() -> Path:
    """Where this user's store, keys and records are kept (XDG state folder on Linux)."""
    from platformdirs import user_state_path

    return user_state_path("sretoolkit")


def _runbook_folders() -> list[str]:
    checkout = Path(__file__).resolve().parents[1] / "runbooks"
    shipped = Path(sys.prefix) / "share" / "sretoolkit" / "runbooks"
    return [str(folder) for folder in dict.fromkeys([Path.cwd() / "runbooks", checkout, shipped]) if folder.is_dir()]


@dataclass(frozen=True)
class Setting:
    """One setting: what it means, the type of its value and its default."""

    help: str
    default: Any
    kind: type = str


SETTINGS: dict[str, Setting] = {
    "identity": Setting("who you are, beside the operating system's user (an e-mail address)", ""),
    "store.url": Setting("the one database", lambda: f"sqlite:///{state_folder() / 'store.db'}"),
    "store.password": Setting("reference to the database's password", ""),
    "journal.keys": Setting("folder of the signing key and the trusted public keys", lambda: str(state_folder() / "keys")),
    "journal.sign_every": Setting("sign a running journal's head this often", "10s"),
    "journal.retention": Setting("records and entries of older runs may be pruned", "365d"),
    "lease.ttl": Setting("a lease that is not renewed for this long expires", "90s"),
    "lease.wait": Setting("how long to wait for a target that somebody else holds", "0s"),
    "records.folder": Setting("where the records (notebook and HTML) of runs go", lambda: str(state_folder() / "records")),
    "runbooks.folders": Setting("where runbooks are looked for", _runbook_folders, list),
    "run.mode": Setting('what stock papermill with our engine does: "plan" or "apply"', "plan"),
    "run.timeout": Setting("a run may take this long", "12h"),
    "run.cell_timeout": Setting("a cell may take this long", "4h"),
    "run.grace": Setting("how long an interrupted kernel may take to undo and end", "10s"),
    "approval.approvers": Setting("who may approve; empty: anyone but the one who asks", list, list),
    "notify.commands": Setting("commands that are told of a break-glass or a failed undo (JSON on stdin)", list, list),
    "freeze": Setting("change freezes: tables of from, to, reason and optional targets (patterns)", list, list),
}


@dataclass(frozen=True)
class Value:
    """One configured value and where it came from."""

    key: str
    value: Any
    origin: str

    def __str__(self) -> str:
        return f"{self.key} = {mask(self.value)!r}  # {self.origin}"


def mask(value: Any) -> Any:
    """The value with the password of any URL in it hidden."""
    return _URL_PASSWORD.sub(r"\1:***@", value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Config:
    """All values by key; make one with `Config.load`, or from a plain mapping for a test or a library call."""

    values: Mapping[str, Value] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        *,
        start: Path | None = None,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Config:
        """Read user file, project file (the nearest one from ``start`` upwards), environment and ``overrides``.

        Raises `ConfigError` for a file that is not TOML, an unknown setting, a wrong type or a secret in clear text.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Value] = {}
        for path in (_user_file(environ), _project_file(start or Path.cwd())):
            if path and path.is_file():
                values.update({value.key: value for value in _read_file(path)})
        for key, setting in SETTINGS.items():
            name = "SRETOOLKIT_" + key.upper().replace(".", "_")
            if setting.kind is str and environ.get(name):
                values[key] = Value(key, environ[name], f"environment {name}")
        for key, given in (overrides or {}).items():
            values[key] = _checked(key, given, "argument")
        return cls(values)

    @classmethod
    def of(cls, **sections: Any) -> Config:
        """A configuration from nested mappings alone: ``Config.of(store={"url": ...}, hosts={"web": {...}})``."""
        return cls({value.key: value for value in _flatten(sections, "argument")})

    def value(self, key: str) -> Value:
        """The setting ``key`` with its origin; raises `ConfigError` for an unknown one."""
        if key in self.values:
            return self.values[key]
        if key not in SETTINGS:
            raise ConfigError(f"there is no setting {key!r}", hint=_near(key, SETTINGS))
        default = SETTINGS[key].default
        return Value(key, default() if callable(default) else default, "default")

    def __getitem__(self, key: str) -> Any:
        return self.value(key).value

    def seconds(self, key: str) -> float:
        """A setting that is a duration, in seconds."""
        return parse_duration(self[key]).total_seconds()

    def names(self, kind: str) -> list[str]:
        """The endpoints of one kind ("hosts", "sources") by name, sorted."""
        return sorted({key.split(".")[1] for key in self.values if key.startswith(f"{kind}.")})

    def endpoint(self, kind: str, name: str) -> dict[str, Any]:
        """The options of one endpoint; raises `ConfigError` with the nearest names when there is none."""
        prefix = f"{kind}.{name}."
        found = {key[len(prefix) :]: value.value for key, value in self.values.items() if key.startswith(prefix)}
        if not found:
            known = self.names(kind)
            hint = _near(name, known) or f"add a table [{kind}.{name}] to {FILE_NAME}"
            raise ConfigError(f"no {kind.rstrip('s')} named {name!r} is configured; there are: {', '.join(known) or 'none'}", hint=hint)
        return found

    def secret_references(self, kind: str, name: str) -> list[str]:
        """The secret references among an endpoint's options (none when it is not configured)."""
        options = self.endpoint(kind, name) if name in self.names(kind) else {}
        return [value for key, value in options.items() if isinstance(value, str) and SECRET_NAMES.search(key)]

    def __iter__(self) -> Iterator[Value]:
        for key in sorted({*SETTINGS, *self.values}):
            yield self.value(key)


def _user_file(environ: Mapping[str, str]) -> Path:
    if given := environ.get("SRETOOLKIT_CONFIG"):
        if not Path(given).is_file():
            raise ConfigError(f"SRETOOLKIT_CONFIG names {given}, which is no file")
        return Path(given)
    from platformdirs import user_config_path

    return user_config_path("sretoolkit") / FILE_NAME


def _project_file(start: Path) -> Path | None:
    folders = (start.absolute(), *start.absolute().parents)
    return next((folder / FILE_NAME for folder in folders if (folder / FILE_NAME).is_file()), None)


def _read_file(path: Path) -> list[Value]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", hint="mend the file; it is TOML") from error
    return _flatten(content, str(path))


def _flatten(content: Mapping[str, Any], origin: str) -> list[Value]:
    values = []
    for section, body in content.items():
        if section in ENDPOINTS:
            if not isinstance(body, Mapping) or not all(isinstance(options, Mapping) for options in body.values()):
                raise ConfigError(f"{origin}: [{section}] must hold one table a name", hint=f"write [{section}.NAME]")
            for name, options in body.items():
                values += [_endpoint_value(f"{section}.{name}.{key}", value, origin) for key, value in options.items()]
        elif isinstance(body, Mapping):
            values += [_checked(f"{section}.{key}", value, origin) for key, value in body.items()]
        else:
            values.append(_checked(section, body, origin))
    return values


def _endpoint_value(key: str, value: Any, origin: str) -> Value:
    if isinstance(value, str) and SECRET_NAMES.search(key) and not Secret.is_reference(value):
        raise ConfigError(
            f"{origin}: {key} holds a secret in clear text",
            hint='write a reference instead: "env:NAME", "file:/path", "keyring:service/user" or "vault:path#key"',
        )
    return Value(key, value, origin)


def _checked(key: str, value: Any, origin: str) -> Value:
    if key not in SETTINGS:
        raise ConfigError(f"{origin}: there is no setting {key!r}", hint=_near(key, [*SETTINGS, *ENDPOINTS]))
    expected = SETTINGS[key].kind
    if not isinstance(value, expected):
        raise ConfigError(f"{origin}: {key} must be a {expected.__name__}, not {value!r}")
    if expected is str and value and SETTINGS[key].help.startswith("reference"):
        return _endpoint_value(key, value, origin)
    return Value(key, value, origin)


def _near(name: str, known: Any) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""
