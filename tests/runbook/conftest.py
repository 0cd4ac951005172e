"""A desk in the test's own home."""

from __future__ import annotations

from pathlib import Path

import pytest

from sretoolkit.config import Config
from tests.runbook.desk import Desk


@pytest.fixture
def desk(own_home: Path, config: Config) -> Desk:
    """The real command line, below the test's home."""
    return Desk(own_home, config)
