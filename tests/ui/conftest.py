"""A real browser and a real JupyterLab, once for all tests of this folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.ui.lab import Lab


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium; without it the tests are skipped here, and fail in CI."""
    program = shutil.which("chromium")
    if not program:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is missing; tests/stack/install installs it")
        pytest.skip("chromium is missing: apt-get install chromium fonts-dejavu-core")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        started = playwright.chromium.launch(executable_path=program, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab with its own folders."""
    from tests.ui.lab import Lab

    folder: Path = tmp_path_factory.mktemp("lab")
    server = Lab(folder)
    yield server
    server.close()
