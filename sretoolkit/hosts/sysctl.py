"""One kernel setting as a step of a plan. It holds until the host's next boot; files such as /etc/sysctl.conf stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sretoolkit.errors import HostError
from sretoolkit.hosts.host import Host, host_of
from sretoolkit.plan.context import Context
from sretoolkit.plan.step import Step, shown


@dataclass(frozen=True, kw_only=True)
class SetSysctl(Step):
    """Set a kernel setting of a host (of its network namespace, where the host has one in the configuration)."""

    host: str
    setting: str
    before: str
    after: str
    restore: str = shown(default="")

    @classmethod
    def on(cls, host: Host, setting: str, value: str) -> Self:
        """The step from the host's present value to ``value``; raises `HostError` when it has no such setting."""
        before = _value(host, setting)
        restore = host.by_hand(host.platform.sysctl_command(setting, before))
        return cls(host=host.name, setting=setting, before=before, after=" ".join(value.split()), restore=restore)

    @property
    def target(self) -> str:
        """``sysctl:HOST/SETTING``."""
        return f"sysctl:{self.host}/{self.setting}"

    def describe(self) -> str:
        """The change in one line."""
        return f"on {self.host} set {self.setting} from {self.before} to {self.after}, until its next boot"

    def observe(self, ctx: Context) -> str:
        """The value that the kernel has now."""
        return _value(host_of(ctx, self.host), self.setting)

    def do(self, ctx: Context) -> None:
        """Write the new value."""
        host_of(ctx, self.host).platform.set_sysctl(self.setting, self.after, timeout=ctx.remaining())

    def undo(self, ctx: Context) -> None:
        """Write the old value."""
        host_of(ctx, self.host).platform.set_sysctl(self.setting, self.before, timeout=ctx.remaining())

    def by_hand(self) -> str:
        """The command that restores the old value, to be typed where the plan was made."""
        return self.restore or f"on {self.host}: sysctl -w '{self.setting}={self.before}'"


def _value(host: Host, key: str) -> str:
    found = host.platform.sysctls([key])
    if key not in found:
        raise HostError(
            f"{host.name}: there is no kernel setting {key} that can be read",
            host=host.name,
            hint=f"sysctl -a shows those there are; {key} may need a kernel module, root, or another network namespace",
        )
    return found[key]
