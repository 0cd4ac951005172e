"""What is begun on the way to a session, each usable once: the local user's login address, and a visit to the provider."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError
from sretoolkit.server.sessions import digest
from sretoolkit.store import Store

LOCAL_FOR = 3600.0
VISIT_FOR = 600.0
_SHORTEST = 32


class Logins:
    """The logins under way of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, document: dict[str, Any], *, seconds: float) -> str:
        """Write down what will be needed at the end; returns the secret by which it is found."""
        key = secrets.token_urlsafe(32)
        with self._store.transaction() as tx:
            tx.execute("DELETE FROM logins WHERE expires < {now}")
            tx.execute(
                "INSERT INTO logins (id, document, expires) VALUES (:id, :document, {now} + :seconds)",
                id=digest(key), document=json.dumps(document), seconds=seconds,
            )  # fmt: skip
        return key

    def end(self, key: str) -> dict[str, Any] | None:
        """What was written down, once; None for what is unknown, used or too old."""
        with self._store.transaction() as tx:
            tx.lock("logins")
            rows = tx.execute("SELECT document FROM logins WHERE id = :id AND expires >= {now}", id=digest(key))
            tx.execute("DELETE FROM logins WHERE id = :id", id=digest(key))
        found: dict[str, Any] | None = json.loads(rows[0]["document"]) if rows else None
        return found


def local_actor(config: Config) -> Actor:
    """The user that this process runs as, come by a token; what they call themselves makes nobody else of them."""
    return Actor(Actor.current(config).user, via="token")


def login_address(config: Config, store: Store, base: str) -> str:
    """An address that logs the local user in, once, within an hour."""
    key = Logins(store).begin({"actor": local_actor(config).to_dict()}, seconds=LOCAL_FOR)
    return f"{base}/login?token={key}"


def local_token(config: Config) -> str:
    """The token by which the local user's own programs use the API: a file that nobody else can read, made on first use."""
    path = Path(config["serve.token_file"]).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        _make(path)
    about = path.stat()
    if about.st_mode & 0o077 or about.st_uid != os.getuid():
        raise ConfigError(f"{path} can be read by others", hint=f"rm {path}; a new one is made")
    token = path.read_text().strip()
    if len(token) < _SHORTEST:
        raise ConfigError(f"{path} holds no token", hint=f"rm {path}; a new one is made")
    return token


def _make(path: Path) -> None:
    """Whole at once, so that of two servers that begin together both read the same."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another one was quicker
    finally:
        draft.unlink()
