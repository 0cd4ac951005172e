"""Redfish, the controllers' HTTP API (DMTF DSP0266), by our own HTTP client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sretoolkit.errors import HTTPError, ProvisionError
from sretoolkit.http import Answer, Client, Remote
from sretoolkit.provision.power import Device, Power, State
from sretoolkit.report import plain
from sretoolkit.secrets import Secret

_DEVICES = {"network": "Pxe", "disk": "Hdd"}
_STATES: Mapping[str, State] = {"On": "on", "Off": "off"}
_RESET = "#ComputerSystem.Reset"


@dataclass(frozen=True, kw_only=True)
class Redfish(Power):
    """A controller at ``url`` ("https://bmc17.example"). ``system``: which one of several that it manages, by its id.

    ``ca``: a file of whom to trust; controllers mostly sign their own certificate.
    """

    url: str
    user: str = ""
    password: Secret | None = None
    system: str = ""
    ca: str = ""
    verify: bool = True

    @property
    def target(self) -> str:
        """By its host, and the system where one was named."""
        return f"power:redfish/{urlsplit(self.url).netloc}/{self.system}"

    def state(self, *, timeout: float = 30) -> State:
        """The system's PowerState; between on and off it is unknown."""
        with self._client(timeout) as client:
            return _STATES.get(str(self._system(client)[0].get("PowerState")), "unknown")

    def on(self, *, timeout: float = 30) -> None:
        """Reset type On."""
        self._reset(("On", "ForceOn"), timeout)

    def off(self, *, timeout: float = 30) -> None:
        """Reset type ForceOff."""
        self._reset(("ForceOff",), timeout)

    def reset(self, *, timeout: float = 30) -> None:
        """Reset type ForceRestart."""
        self._reset(("ForceRestart", "PowerCycle"), timeout)

    def boot_next(self, device: Device, *, timeout: float = 30) -> None:
        """Override once."""
        self._override({"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": _DEVICES[device]}, timeout)

    def next_boot(self, *, timeout: float = 30) -> str:
        """The override that is in force."""
        with self._client(timeout) as client:
            boot = self._system(client)[0].get("Boot") or {}
        if boot.get("BootSourceOverrideEnabled") in (None, "Disabled"):
            return ""
        return next((name for name, word in _DEVICES.items() if word == boot.get("BootSourceOverrideTarget")), "")

    def forget_next(self, *, timeout: float = 30) -> None:
        """Override disabled."""
        self._override({"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None"}, timeout)

    def _reset(self, wanted: tuple[str, ...], timeout: float) -> None:
        """Of the wanted kinds of reset the first that the system knows; the first where it does not say."""
        with self._client(timeout) as client:
            system, address, _ = self._system(client)
            action = (system.get("Actions") or {}).get(_RESET) or {}
            known = action.get("ResetType@Redfish.AllowableValues") or wanted
            kind = next((word for word in wanted if word in known), wanted[0])
            where = str(action.get("target") or f"{address}/Actions/ComputerSystem.Reset")
            self._good(client.send("POST", where, json={"ResetType": kind}), f"a reset of the kind {kind}")

    def _override(self, boot: Mapping[str, str], timeout: float) -> None:
        with self._client(timeout) as client:
            _, address, tag = self._system(client)
            match = {"If-Match": tag} if tag else {}  # some controllers change nothing without it
            answer = client.send("PATCH", address, json={"Boot": dict(boot)}, headers=match)
            self._good(answer, f"the next boot from {boot['BootSourceOverrideTarget']}")

    def _system(self, client: Client) -> tuple[dict[str, Any], str, str]:
        """The system with its path and its tag."""
        told = self._read(client, "/redfish/v1/Systems")[0]
        paths = [str(member.get("@odata.id", "")) for member in told.get("Members") or []]
        found = [path for path in paths if not self.system or path.rstrip("/").rpartition("/")[2] == self.system]
        if len(found) != 1:
            what = f"{self.url} manages {len(paths)} systems" + (f", none is {self.system!r}" if self.system else "")
            raise ProvisionError(what, subject=self.url, hint=f"set system to one of: {', '.join(paths)}")
        content, tag = self._read(client, found[0])
        return content, found[0], tag

    def _read(self, client: Client, path: str) -> tuple[dict[str, Any], str]:
        answer = self._good(client.send("GET", path), path)
        try:
            content = answer.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise ProvisionError(f"{self.url}{path} is no Redfish: {answer.said}", subject=self.url)
        return content, str(answer.headers.get("ETag", ""))

    def _good(self, answer: Answer, what: str) -> Answer:
        if not answer.ok:
            hint = "check user and password" if answer.status in (401, 403) else "does its firmware allow that?"
            raise ProvisionError(f"{self.url} refused {plain(what)}: {answer.said}", subject=self.url, hint=hint)
        return answer

    @contextmanager
    def _client(self, timeout: float) -> Iterator[Client]:
        from datetime import timedelta

        login = {"username": self.user, "password": self.password} if self.user else {}
        remote = Remote(url=self.url, ca=self.ca, verify=self.verify, timeout=timedelta(seconds=timeout), **login)  # type: ignore[arg-type]
        client = Client(remote)
        try:
            yield client
        except HTTPError as error:
            raise ProvisionError(error.message, subject=self.url, hint=error.hint) from error
        finally:
            client.close()
