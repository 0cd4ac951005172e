"""Debian's cron in mount and process namespaces of its own, with one crontab; what it mails is kept. Needs root.

Its crontabs, its pid file, the home of its user and what sends mail are below a folder, and this machine's own jobs are
not there, so that nothing of this machine is touched or run.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.stack.namespaces import Namespace
from tests.stack.process import program

_SENDMAIL = Path("/usr/sbin/sendmail")
_MAIL = """#!/bin/sh
mail=$(mktemp -p {0}/run)
cat >"$mail"
mv "$mail" {0}/mails
"""
_INSIDE = """
cd "$0"
mount --bind crontabs /var/spool/cron/crontabs
mount --bind run /run
mount --bind cron.d /etc/cron.d
mount --bind crontab /etc/crontab
mount --bind passwd /etc/passwd
mount --bind sendmail /usr/sbin/sendmail
[ ! -S /dev/log ] || mount --bind /dev/null /dev/log
crontab wanted
cron -f &
echo ready
wait
"""


class Cron:
    """Runs one crontab of root, whose home is ``home``, as long as the context."""

    def __init__(self, folder: Path, crontab: str, *, home: Path) -> None:
        program("cron", "cron")
        if not _SENDMAIL.exists():
            raise RuntimeError(f"{_SENDMAIL} is missing; install it: apt-get install msmtp-mta")
        self.folder = folder
        for name in ("run", "cron.d", "mails", "crontabs"):
            (folder / name).mkdir(parents=True)
        (folder / "crontabs").chmod(0o1730)
        shutil.chown(folder / "crontabs", group="crontab")
        (folder / "crontab").touch()
        (folder / "wanted").write_text(crontab)
        users = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines()]
        homes = [[*user[:5], str(home) if user[0] == "root" else user[5], *user[6:]] for user in users]
        (folder / "passwd").write_text("".join(":".join(user) + "\n" for user in homes))
        (folder / "sendmail").write_text(_MAIL.format(shlex.quote(str(folder))))
        (folder / "sendmail").chmod(0o755)
        self._namespace = Namespace("/bin/sh", "-ec", _INSIDE, str(folder), ready="ready")

    @property
    def mails(self) -> list[str]:
        """What was mailed so far."""
        return [path.read_text() for path in (self.folder / "mails").iterdir()]

    def __enter__(self) -> Self:
        self._namespace.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._namespace.__exit__(kind, error, trace)
