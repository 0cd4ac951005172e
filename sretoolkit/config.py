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
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sretoolkit.clock import parse_duration
from sretoolkit.errors import ConfigError
from sretoolkit.secrets import Secret

FILE_NAME = "sretoolkit.toml"
ENDPOINTS = ("hosts", "sources", "slis", "slos", "rollouts", "access", "alerts", "hooks", "webhooks", "executors")
SECRET_NAMES = re.compile(
    r"(password|passwd|passphrase|token|secret|api[_-]?key|authorization|credential)s?$", re.IGNORECASE
)
_URL_PASSWORD = re.compile(r"(?<=://)([^/@\s:]*):(?![0-9]+(?:/|$))\S+@")  # "host:80/who@where" has a port, no password
_QUERY_PASSWORD = re.compile(r"([?&][\w-]*(?:password|passwd|token|secret|api[_-]?key)=)[^&\s]+", re.IGNORECASE)


def state_folder() -> Path:
    """Where this user's store, keys and records are kept (XDG state folder on Linux)."""
    from platformdirs import user_state_path

    return user_state_path("sretoolkit")


def _runbook_folders() -> list[str]:
    checkout, *above = Path(__file__).resolve().parents[1:]
    shipped = [folder / "share/sretoolkit/runbooks" for folder in (checkout, *above)]  # wherever pip has put us
    here = _working_folder()
    folders = [*([here / "runbooks"] if here else []), checkout / "runbooks", *shipped]
    return [str(folder) for folder in dict.fromkeys(folders) if folder.is_dir()]


def _working_folder() -> Path | None:
    """Where we are; None when that folder was deleted under us."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def _mode(text: str) -> None:
    if text not in ("plan", "apply"):
        raise ConfigError(f"{text!r} is no mode", hint='write "plan" or "apply"')


@dataclass(frozen=True)
class Setting:
    """One setting: what it means, its default, the type of its value (of a list: and of its items), and what reads it."""

    help: str
    default: Any
    kind: type = str
    items: tuple[type, ...] = (str,)
    read: Callable[[Any], Any] | None = None


SETTINGS: dict[str, Setting] = {
    "identity": Setting("who you are, beside the operating system's user (an e-mail address)", ""),
    "store.url": Setting("the one database", lambda: f"sqlite:///{state_folder() / 'store.db'}"),
    "store.password": Setting("reference to the database's password", ""),
    "store.timeout": Setting("give up on a locked or unreachable database after this time", "10s", read=parse_duration),
    "journal.keys": Setting(
        "folder of the signing key and the trusted public keys", lambda: str(state_folder() / "keys")
    ),
    "journal.sign_every": Setting("sign a running journal's head this often", "10s", read=parse_duration),
    "journal.retention": Setting("records and entries of older runs may be pruned", "365d", read=parse_duration),
    "lease.ttl": Setting("a lease that is not renewed for this long expires", "90s", read=parse_duration),
    "lease.wait": Setting("how long to wait for a target that somebody else holds", "0s", read=parse_duration),
    "records.folder": Setting(
        "where the records (notebook and HTML) of runs go", lambda: str(state_folder() / "records")
    ),
    "runbooks.folders": Setting("where runbooks are looked for", _runbook_folders, list),
    "run.mode": Setting('what stock papermill with our engine does: "plan" or "apply"', "plan", read=_mode),
    "run.timeout": Setting("a run may take this long", "12h", read=parse_duration),
    "run.cell_timeout": Setting("a cell may take this long", "4h", read=parse_duration),
    "run.grace": Setting("how long an interrupted kernel may take to undo and end", "10s", read=parse_duration),
    "approval.approvers": Setting("who may approve; empty: anyone but the one who asks", list, list),
    "notify.commands": Setting(
        "commands that are told of a break-glass or a failed undo (JSON on stdin)", list, list, (str, list)
    ),
    "serve.url": Setting("how people reach the server: https://sre.example.com; empty: where it listens", ""),
    "serve.most_requests": Setting("so many requests a minute of one person; twice as many of one address", 600, int),
    "serve.token_file": Setting(
        "the token by which the local user's programs use the API", lambda: str(state_folder() / "serve.token")
    ),
    "serve.session_idle": Setting("who does nothing for this long logs in again", "2h", read=parse_duration),
    "serve.session_longest": Setting("everybody logs in again after this time", "12h", read=parse_duration),
    "serve.proxies": Setting("addresses of proxies whose X-Forwarded-For is believed", list, list),
    "oidc.issuer": Setting("whom people log in with: the URL of an OpenID provider", ""),
    "oidc.client_id": Setting("what that provider calls this server", ""),
    "oidc.client_secret": Setting("reference to what this server proves itself with to the provider", ""),
    "oidc.scopes": Setting("what the provider is asked for", lambda: ["openid", "email"], list),
    "oidc.identity": Setting("the claim that says who somebody is (an email must be a verified one)", "email"),
    "oidc.groups": Setting("the claim that lists somebody's groups", "groups"),
    "oidc.ca": Setting("file of the authorities to trust for the provider instead of the system's", ""),
    "provision.folder": Setting(
        "where images, kernels and boot files are kept", lambda: str(state_folder() / "provision")
    ),
    "provision.url": Setting("how machines reach the provisioning server: http://address:port", ""),
    "provision.tasks": Setting("folders of further tasks", list, list),
    "provision.match_on": Setting("by what a machine is recognised", lambda: ["uuid", "serial", "mac"], list),
    "provision.most_installs": Setting("so many machines are installed at once, the others wait", 20, int),
    "provision.most_new": Setting("so many machines that no policy wants are kept", 5000, int),
    "provision.bandwidth": Setting("megabytes a second for images, all machines together; 0: no limit", 0, int),
    "provision.ssh_key": Setting("the private key's file by which installed machines are logged in to", ""),
    "provision.consoles": Setting(
        "consoles of machines that boot from the network, installers included; empty: screen and serial port",
        list,
        list,
    ),
    "serve.most_runs": Setting(
        "so many runs that were asked for go on at once on each executor, the others wait", 4, int
    ),
    "freeze": Setting(
        "change freezes: tables of from, to, reason and optional targets (patterns)", list, list, (dict,)
    ),
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
    if isinstance(value, str):
        return _QUERY_PASSWORD.sub(r"\1***", _URL_PASSWORD.sub(r"\1:***@", value))
    if isinstance(value, Mapping):
        return {key: mask(item) for key, item in value.items()}
    return [mask(item) for item in value] if isinstance(value, list) else value


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
        for path in (_user_file(environ), _project_file(start or _working_folder())):
            if path and _is_file(path):
                values.update({value.key: value for value in _read_file(path)})
        for key, setting in SETTINGS.items():
            name = "SRETOOLKIT_" + key.upper().replace(".", "_")
            if environ.get(name):
                given = environ[name] if setting.kind is str else _toml_value(environ[name], name)
                values[key] = _checked(key, given, f"environment {name}")
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
        return sorted({key[len(kind) + 1 :].rpartition(".")[0] for key in self.values if key.startswith(f"{kind}.")})

    def endpoint(self, kind: str, name: str) -> dict[str, Any]:
        """The options of one endpoint; raises `ConfigError` with the nearest names when there is none."""
        prefix = f"{kind}.{name}."
        mine = {key: value for key, value in self.values.items() if key.rpartition(".")[0] + "." == prefix}
        found = {key[len(prefix) :]: value.value for key, value in mine.items()}
        if not found:
            known = self.names(kind)
            hint = _near(name, known) or f"add a table [{kind}.{name}] to {FILE_NAME}"
            raise ConfigError(
                f"no {kind.rstrip('s')} named {name!r} is configured; there are: {', '.join(known) or 'none'}",
                hint=hint,
            )
        return found

    def secret_references(self, kind: str, name: str) -> list[str]:
        """The secret references among an endpoint's options and those of its jump hosts (none when it is not configured)."""
        found: list[str] = []
        seen: set[str] = set()
        while name in self.names(kind) and name not in seen:
            seen.add(name)
            options = self.endpoint(kind, name)
            found += _secrets_in("", options)
            name = str(options.get("jump", ""))
        return found

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


def _project_file(start: Path | None) -> Path | None:
    folders = (start.absolute(), *start.absolute().parents) if start else ()
    return next((folder / FILE_NAME for folder in folders if _is_file(folder / FILE_NAME)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder above that we may not look into
        return False


def _read_file(path: Path) -> list[Value]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", hint="mend the file; it is TOML") from error
    return _flatten(_plain(content), str(path))


def _toml_value(text: str, name: str) -> Any:
    """A list in an environment variable is written as in the file: ``["a", "b"]``."""
    try:
        return _plain(tomllib.loads(f"value = {text}")["value"])
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{name} cannot be read: {error}", hint='write it as in the file: ["a", "b"]') from error


def _plain(value: Any) -> Any:
    """TOML data as JSON data: dates and times become ISO text, so that a kernel can be told of them."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, date | time) else value


def _flatten(content: Mapping[str, Any], origin: str) -> list[Value]:
    values = []
    for section, body in content.items():
        if section in ENDPOINTS:
            if not isinstance(body, Mapping) or not all(isinstance(options, Mapping) for options in body.values()):
                raise ConfigError(f"{origin}: [{section}] must hold one table a name", hint=f"write [{section}.NAME]")
            if dotted := [key for options in body.values() for key in options if "." in key]:
                raise ConfigError(f"{origin}: [{section}]: an option cannot be called {dotted[0]!r}")
            for name, options in body.items():
                values += [_endpoint_value(f"{section}.{name}.{key}", value, origin) for key, value in options.items()]
        elif isinstance(body, Mapping):
            values += [_checked(f"{section}.{key}", value, origin) for key, value in body.items()]
        else:
            values.append(_checked(section, body, origin))
    return values


def _endpoint_value(key: str, value: Any, origin: str) -> Value:
    if not all(map(Secret.is_reference, _secrets_in(key, value))):
        raise ConfigError(
            f"{origin}: {key} holds a secret in clear text",
            hint='write a reference instead: "env:NAME", "file:/path", "keyring:service/user" or "vault:path#key"',
        )
    return Value(key, value, origin)


def _secrets_in(key: str, value: Any) -> Iterator[str]:
    """Every text in a value, however deep, that its name says is a secret."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _secrets_in(name, item)
    elif isinstance(value, list):
        for item in value:
            yield from _secrets_in(key, item)
    elif isinstance(value, str) and SECRET_NAMES.search(key):
        yield value


def _checked(key: str, value: Any, origin: str) -> Value:
    if key not in SETTINGS:
        raise ConfigError(f"{origin}: there is no setting {key!r}", hint=_near(key, [*SETTINGS, *ENDPOINTS]))
    setting = SETTINGS[key]
    if not isinstance(value, setting.kind):
        raise ConfigError(f"{origin}: {key} must be a {setting.kind.__name__}, not a {type(value).__name__}")
    if isinstance(value, list) and not all(isinstance(item, setting.items) for item in value):
        raise ConfigError(f"{origin}: {key} must be a list of {' or '.join(kind.__name__ for kind in setting.items)}")
    if setting.read is not None:
        try:
            setting.read(value)
        except ConfigError as error:
            raise ConfigError(f"{origin}: {key}: {error.message}", hint=error.hint) from None
    return _endpoint_value(key, value, origin) if value else Value(key, value, origin)


def _near(name: str, known: Any) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""
