"""IPMI 2.0 by Debian's ipmitool. The password goes through the environment of that one process, never its arguments."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import Any

from sretoolkit.errors import ConfigError, ProvisionError
from sretoolkit.provision.power import Device, Power, State
from sretoolkit.report import plain
from sretoolkit.secrets import Secret, redaction

_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:@-]*")
_DEVICES = {"network": "pxe", "disk": "disk"}
_SAID = re.compile(r"Boot Device Selector\s*:\s*(.+)")


@dataclass(frozen=True, kw_only=True)
class Ipmi(Power):
    """A baseboard controller at ``address``. ``cipher``: the cipher suite, where probing for one is slow (3, 17).

    ``uefi``: the machine starts by UEFI, which some controllers must be told for the next boot.
    """

    address: str
    user: str
    password: Secret
    port: int = 623
    cipher: int = 0
    uefi: bool = False

    def __post_init__(self) -> None:
        for name in ("address", "user"):
            if not _WORD.fullmatch(getattr(self, name)):
                raise ConfigError(f"{getattr(self, name)!r} is no {name} of a controller")

    @property
    def target(self) -> str:
        """By its address."""
        return f"power:ipmi/{self.address}:{self.port}"

    def state(self, *, timeout: float = 30) -> State:
        """As the chassis says."""
        said = self._ask("chassis", "power", "status", timeout=timeout).strip().lower()
        return "on" if said.endswith(" on") else "off" if said.endswith(" off") else "unknown"

    def on(self, *, timeout: float = 30) -> None:
        """Power up."""
        self._ask("chassis", "power", "on", timeout=timeout)

    def off(self, *, timeout: float = 30) -> None:
        """Power down, hard."""
        self._ask("chassis", "power", "off", timeout=timeout)

    def reset(self, *, timeout: float = 30) -> None:
        """Hard reset."""
        self._ask("chassis", "power", "reset", timeout=timeout)

    def boot_next(self, device: Device, *, timeout: float = 30) -> None:
        """For the next boot alone."""
        efi = ["options=efiboot"] if self.uefi else []
        self._ask("chassis", "bootdev", _DEVICES[device], *efi, timeout=timeout)

    def next_boot(self, *, timeout: float = 30) -> str:
        """By the fifth boot parameter."""
        found = _SAID.search(self._ask("chassis", "bootparam", "get", "5", timeout=timeout))
        said = found[1].lower() if found else ""
        return "network" if "pxe" in said else "disk" if "hard-drive" in said or "hard drive" in said else ""

    def forget_next(self, *, timeout: float = 30) -> None:
        """No override."""
        self._ask("chassis", "bootdev", "none", timeout=timeout)

    def by_hand(self, what: str) -> str:
        """ipmitool, which asks for the password."""
        words = {
            "on": "power on",
            "off": "power off",
            "network": "bootdev pxe",
            "disk": "bootdev disk",
            "usual": "bootdev none",
        }
        return (
            f"ipmitool -I lanplus -H {self.address} -p {self.port} -U {self.user} -a chassis {words[what]}"
            if what in words
            else ""
        )

    def _ask(self, *words: str, timeout: float) -> str:
        command = ["ipmitool", "-I", "lanplus", "-H", self.address, "-p", str(self.port), "-U", self.user, "-E"]
        command += ["-C", str(self.cipher)] if self.cipher else []
        environment = {**os.environ, "IPMI_PASSWORD": self.password.reveal()}
        given: dict[str, Any] = {"capture_output": True, "text": True, "errors": "replace", "stdin": subprocess.DEVNULL}
        where = f"the controller {self.address}"
        try:
            done = subprocess.run([*command, *words], env=environment, timeout=timeout, **given)
        except subprocess.TimeoutExpired:
            hint = "is it reachable from here (UDP), and is IPMI over LAN allowed on it?"
            raise ProvisionError(
                f"{where} did not answer within {timeout:g} s", subject=self.address, hint=hint
            ) from None
        except OSError as error:
            hint = "apt-get install ipmitool"
            raise ProvisionError(f"ipmitool cannot be run: {error}", subject="ipmitool", hint=hint) from error
        if done.returncode:
            said = plain(redaction((done.stderr or done.stdout).strip()))
            hint = "check address, user and password; `ipmitool -I lanplus ... chassis status` tells more"
            raise ProvisionError(f"{where} refused {' '.join(words)}: {said}", subject=self.address, hint=hint)
        return str(done.stdout)
