"""Files of repositories: whole and right, or not there."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.config import Config
from sretoolkit.errors import StepFailed
from sretoolkit.plan import Plan
from sretoolkit.provision.entries import Repo
from sretoolkit.provision.registry import Registry
from sretoolkit.provision.repos import import_steps, path_of, repos

DATA = b"an image" * 100_000
RIGHT = hashlib.sha256(DATA).hexdigest()


def _repo(url: str, digest: str = RIGHT) -> Repo:
    return Repo(name="tiny", url=url, files={"disk.img": digest})


@pytest.fixture
def source(tmp_path: Path) -> str:
    """A folder to copy from."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "disk.img").write_bytes(DATA)
    return f"file://{tmp_path}/source"


def test_a_repo_is_copied_once_and_taken_back(registry: Registry, config: Config, source: str, write: Any) -> None:
    """Copied, checked, not copied again; undo removes it."""
    write(_repo(source))
    assert ["missing"] == [finding.rule for finding in repos(registry, config).findings]
    plan = Plan("import", import_steps(registry, config, "tiny"))
    assert "completed" == plan.run(apply=True, config=config).state
    assert (DATA, [], []) == (
        path_of(config, "tiny", "disk.img").read_bytes(),
        list(import_steps(registry, config, "tiny")),
        list(repos(registry, config).findings),
    )


@pytest.mark.parametrize("damage", ["short", "long", "other"])
def test_what_is_not_what_was_written_down_is_not_kept(
    registry: Registry, config: Config, source: str, write: Any, damage: str, tmp_path: Path
) -> None:
    """Issue "checksums and sizes verified": a truncated, longer or other file leaves nothing behind."""
    changed = {"short": DATA[:-1], "long": DATA + b"x", "other": b"X" + DATA[1:]}[damage]
    (tmp_path / "source" / "disk.img").write_bytes(changed)
    write(_repo(source))
    with pytest.raises(StepFailed, match="is not what is written down"):
        Plan("import", import_steps(registry, config, "tiny")).run(apply=True, config=config)
    assert [] == [path for path in path_of(config, "tiny", "x").parent.glob("*") if path.is_file()]


def test_a_damaged_file_is_found_and_replaced(registry: Registry, config: Config, source: str, write: Any) -> None:
    """Bit rot on the server is a finding of severity high, and importing again mends it."""
    write(_repo(source))
    Plan("import", import_steps(registry, config, "tiny")).run(apply=True, config=config)
    path_of(config, "tiny", "disk.img").write_bytes(b"rotten")
    assert [("high", "wrong")] == [(finding.severity, finding.rule) for finding in repos(registry, config).findings]
    Plan("import", import_steps(registry, config, "tiny")).run(apply=True, config=config)
    assert DATA == path_of(config, "tiny", "disk.img").read_bytes()
