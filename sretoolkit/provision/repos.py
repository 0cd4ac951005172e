"""The files of repositories: copied once from where they come, checked by size and digest, and served from here."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from sretoolkit.config import Config
from sretoolkit.errors import ProvisionError
from sretoolkit.http import Client, Remote
from sretoolkit.plan import Context, Step
from sretoolkit.provision.entries import Repo
from sretoolkit.provision.registry import Registry
from sretoolkit.report import Finding, Report, Table

_CHUNK = 1 << 20
_MOST_BYTES = 1 << 42


@dataclass(frozen=True, kw_only=True)
class ImportFile(Step):
    """Copy one file of a repository here. ``before`` and ``after`` are its SHA-256; None when it is not here.

    A file is there whole and right or not at all; what has arrived of it is visible as ``.NAME.part`` meanwhile.
    """

    deadline: ClassVar[timedelta] = timedelta(hours=4)
    repo: str
    name: str
    url: str
    before: str | None
    after: str

    @property
    def target(self) -> str:
        """``provision:file/REPO/NAME``."""
        return f"provision:file/{self.repo}/{self.name}"

    def describe(self) -> str:
        """Which file, from where."""
        return f"copy {self.name} of the repo {self.repo} from {self.url}"

    def observe(self, ctx: Context) -> str | None:
        """The digest of what is here."""
        return digest_of(path_of(ctx.config, self.repo, self.name))

    def do(self, ctx: Context) -> None:
        """Fetch, check, put in place."""
        path = path_of(ctx.config, self.repo, self.name)
        with _beside(path) as (part, write, sync):
            seen = _fetch(self.url, write, ctx.remaining())
            sync()
            if seen != self.after:
                raise ProvisionError(
                    f"{self.url} is not what is written down: SHA-256 {seen}, not {self.after}", subject=self.repo,
                    hint="compare with the digest that its maker publishes, then `update-repo`",
                )  # fmt: skip
            os.replace(part, path)

    def undo(self, ctx: Context) -> None:
        """Remove it; another version that was here before cannot be brought back."""
        if self.before is not None:
            raise ProvisionError(
                f"the earlier {self.name} of {self.repo} is gone", hint="import it again from its source"
            )
        path_of(ctx.config, self.repo, self.name).unlink(missing_ok=True)


def import_steps(registry: Registry, config: Config, name: str) -> Iterator[ImportFile]:
    """The steps that bring a repository's files here; none for those that are here and right."""
    repo = registry.document("repo", name)
    assert isinstance(repo, Repo)
    if not repo.url or not repo.files:
        raise ProvisionError(
            f"the repo {name} says neither where its files come from nor which they are", subject=name,
            hint='`update-repo --url https://... --files \'{"disk.img.gz": "SHA-256"}\'`',
        )  # fmt: skip
    base = repo.url if repo.url.endswith("/") else f"{repo.url}/"
    for file, digest in repo.files.items():
        before = digest_of(path_of(config, name, file))
        if before != digest:
            yield ImportFile(repo=name, name=file, url=base + file, before=before, after=digest)


def repos(registry: Registry, config: Config) -> Report:
    """Which files are here, how much of those that are just being copied, and what is missing or wrong."""
    rows, findings = [], []
    for name, repo in registry.documents("repo").items():
        assert isinstance(repo, Repo)
        for file in sorted({*repo.files, *(word for word in (repo.image, repo.kernel, repo.initrd) if word)}):
            path = path_of(config, name, file)
            part = _part_of(path)
            if not path.is_file():
                state = f"arriving: {part.stat().st_size / 1e6:.0f} MB" if part.exists() else "MISSING"
                remedy = f"sretoolkit provision import-repo --name {name} --apply, or put it at {path}"
                summary = f"{file} is not here"
                findings.append(
                    Finding(severity="medium", subject=name, summary=summary, remedy=remedy, rule="missing")
                )
            elif file in repo.files and digest_of(path) != repo.files[file]:
                state, summary = "WRONG", f"{file} is not what is written down"
                findings.append(Finding(severity="high", subject=name, summary=summary, proof="certain", rule="wrong"))
            else:
                state = "ok" if file in repo.files else "here (no digest is written down)"
            rows.append((name, file, f"{path.stat().st_size / 1e6:.1f} MB" if path.is_file() else "", state))
    return Report("Repositories", findings, [Table("", ("repo", "file", "size", ""), rows)])


def path_of(config: Config, repo: str, name: str) -> Path:
    """Where a file of a repository is."""
    return Path(config["provision.folder"]) / "repos" / repo / name


def digest_of(path: Path) -> str | None:
    """SHA-256 of a file; None when it is not there."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ProvisionError(f"{path} cannot be read: {error}") from error


def _fetch(url: str, write: Callable[[bytes], object], seconds: float) -> str:
    """Give the content of a URL to ``write`` piece by piece; returns its SHA-256."""
    seen = hashlib.sha256()

    def take(piece: bytes) -> None:
        seen.update(piece)
        write(piece)

    parts = urlsplit(url)
    if parts.scheme == "file":
        try:
            with Path(parts.path).open("rb") as file:
                while piece := file.read(_CHUNK):
                    take(piece)
        except OSError as error:
            raise ProvisionError(f"{url} cannot be read: {error.strerror}") from error
        return seen.hexdigest()
    if parts.scheme not in ("http", "https"):
        raise ProvisionError(f"{url} is nothing to copy from", hint="http, https or file")
    client = Client(
        Remote(url=url, timeout=timedelta(seconds=seconds), most_bytes=_MOST_BYTES, compress=False, attempts=1)
    )
    try:
        answer = client.send("GET", "", into=lambda _head: take)
    finally:
        client.close()
    if not answer.ok:
        raise ProvisionError(f"{url} cannot be had: {answer.said}")
    return seen.hexdigest()


@contextmanager
def _beside(path: Path) -> Iterator[tuple[Path, Callable[[bytes], object], Callable[[], None]]]:
    """A file beside ``path``: what writes to it, and what brings it onto the disk. It is removed when anything goes wrong."""
    part = _part_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:

            def sync() -> None:
                file.flush()
                os.fsync(file.fileno())

            yield part, file.write, sync
    except OSError as error:
        room = shutil.disk_usage(path.parent if path.parent.exists() else "/").free / 1e6
        raise ProvisionError(
            f"{path} cannot be written: {error.strerror}", hint=f"{room:.0f} MB are free there"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")
