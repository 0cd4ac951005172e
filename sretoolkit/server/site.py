"""What every part of the server shares: one store, one configuration, and who may do what there."""

from __future__ import annotations

from urllib.parse import urlsplit

from sretoolkit.config import Config
from sretoolkit.journal import Keys
from sretoolkit.runbook.access import Access, Person
from sretoolkit.runbook.desk import RunDesk
from sretoolkit.runbook.queue import Queue
from sretoolkit.server.logins import Logins, local_token
from sretoolkit.server.sessions import Sessions
from sretoolkit.store import Store


class Site:
    """One server at one store."""

    def __init__(self, config: Config, store: Store) -> None:
        self.config = config
        self.store = store
        self.keys = Keys.of(config)
        self.queue = Queue(store)
        self.access = Access(config, shared=store.shared)
        self.sessions = Sessions(store, config)
        self.logins = Logins(store)
        self.local_token = local_token(config)
        self.url = str(config["serve.url"]).rstrip("/")

    def desk(self, person: Person) -> RunDesk:
        """What somebody may do with runs."""
        return RunDesk(self.store, self.config, person)

    @property
    def secure(self) -> bool:
        """Whether people reach it over TLS."""
        return self.url.startswith("https://")

    @property
    def host(self) -> str:
        """The name by which people reach it; "" where none is configured."""
        return urlsplit(self.url).hostname or ""

    @property
    def cookie(self) -> str:
        """The cookie's name; the prefix makes a browser refuse one that another place or an unencrypted page sets."""
        return "__Host-sretoolkit" if self.secure else "sretoolkit"
