"""systemd: a service that is run once a tick, and its timer."""

from __future__ import annotations

from sretoolkit.runbook.export import Export

_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


class SystemdExport(Export):
    """``sretoolkit-NAME.service`` and ``.timer``, for /etc/systemd/system or ~/.config/systemd/user."""

    def files(self) -> dict[str, str]:
        """Both; the timer is the one to enable."""
        schedule, unit = self.schedule, f"sretoolkit-{self.schedule.name}"
        service = f"""[Unit]
Description={_line(self.title)}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={" ".join(map(_word, self.command))}
# a run that is stopped takes back what it did: only its supervisor is told
KillMode=mixed
TimeoutStopSec=120
"""
        calendar = "".join(f"OnCalendar={line}\n" for line in self._calendar())
        timer = f"""[Unit]
Description={_line(self.title)}

[Timer]
{calendar}AccuracySec=1s
RandomizedDelaySec={schedule.jitter:g}s
Persistent={"no" if schedule.missed == "skip" else "yes"}

[Install]
WantedBy=timers.target
"""
        return {f"{unit}.service": service, f"{unit}.timer": timer}

    def _calendar(self) -> list[str]:
        """Cron's times in systemd's words; a day of the month or a weekday are two lines, for one would ask for both."""
        times = self.schedule.times
        fields = times.fields()
        minute, hour, day, month, weekday = (
            "*" if fields[name] is None else ",".join(f"{value:02}" for value in fields[name] or ())
            for name in ("minute", "hour", "day", "month", "weekday")
        )
        names = "" if weekday == "*" else ",".join(_DAYS[value] for value in fields["weekday"] or ()) + " "
        clock = f"{hour}:{minute}:00 {times.zone.key}"
        if names and day != "*" and times.either_day:
            return [f"{names}*-{month}-* {clock}", f"*-{month}-{day} {clock}"]
        return [f"{names}*-{month}-{day} {clock}"]


def _line(text: str) -> str:
    """Text that is no specifier and does not go on in the next line."""
    return text.replace("\\", "\\\\").replace("%", "%%")


def _word(text: str) -> str:
    """One argument of ExecStart, whatever is in it."""
    escaped = {"\\": "\\\\", '"': '\\"', "%": "%%", "$": "$$"}
    inner = "".join(escaped.get(each, each) for each in text)
    return f'"{inner}"'
