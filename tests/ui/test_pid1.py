"""Pid1Tree in JupyterLab, over a real Docker Engine: the worst container first, its tree, and what a stop does to each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.stack.docker import Docker
from tests.ui.looks import assert_clean, keep

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.ui.lab import Lab

pytestmark = [pytest.mark.ui, pytest.mark.skipif(os.getuid() != 0, reason="a Docker Engine needs root")]


def test_a_container_is_picked_and_its_tree_is_drawn(lab: Lab, browser: Browser) -> None:
    """By keyboard alone: the list is filled by a look at the host, and the tree of the one that is picked appears."""
    with Docker() as engine:
        engine.run("sleep", "600", name="polite", options=("--init", "--pids-limit", "200"))
        engine.run("sh", "-c", "sleep 600; true", name="deaf")
        show = "from sretoolkit.widgets import Pid1Tree\nPid1Tree()"
        lab.write("pid1.ipynb", f"import os\nos.environ['DOCKER_HOST'] = {engine.url!r}\n{show}")
        tab = lab.open(browser, "pid1.ipynb")
        tab.run()
        page = tab.page
        page.wait_for_function("document.querySelectorAll('.srt-pid1 select option').length >= 2")
        keep(page, "pid1-host")
        names = page.locator(".srt-pid1 select option").all_inner_texts()
        assert names.index("deaf") < names.index("polite")
        select = page.locator(".srt-pid1 select")
        select.focus()
        select.select_option("deaf")
        page.wait_for_function("document.querySelector('.srt-pid1').innerText.includes('when it is stopped')")
        text = page.locator(".srt-pid1").inner_text()
        assert "SIGTERM: dropped" in text
        assert "not told: killed when the first process ends" in text
        keep(page, "pid1-tree")
        assert_clean(tab)
        tab.close()
