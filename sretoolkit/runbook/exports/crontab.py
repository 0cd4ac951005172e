"""cron: a line for a crontab."""

from __future__ import annotations

import shlex

from sretoolkit.runbook.export import Export

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # cron's own has no sysctl, modprobe or nginx


class CrontabExport(Export):
    """The zone, which cronie reads, and when to fire; where cron knows no zones, a line at a wrong time runs nothing."""

    def files(self) -> dict[str, str]:
        """One file, for `crontab` or /etc/cron.d (there with a user before the command)."""
        schedule = self.schedule
        schedule.times.fields()  # cron knows no last day and no second Tuesday
        command = shlex.join(self.command)
        line = f"{schedule.times.expression} {command}".replace(
            "%", "\\%"
        )  # cron makes of a bare % the end of the line
        text = f"# {self.title}\n# cronie reads CRON_TZ; Debian's cron does not: write these times in the machine's own zone\n"
        return {f"sretoolkit-{schedule.name}": f"{text}CRON_TZ={schedule.times.zone.key}\nPATH={_PATH}\n{line}\n"}
