"""ProvisionBoard in JupyterLab: machines appear while one looks, a rule is tried while one types, one machine's log is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.ui.looks import assert_clean, keep

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.ui.lab import Lab

pytestmark = pytest.mark.ui
OPEN = """
from sretoolkit.config import Config
from sretoolkit.provision.handlers import Desk
from sretoolkit.provision.registry import Registry
from sretoolkit.store import Store
from sretoolkit.widgets import ProvisionBoard
import sys; sys.path.insert(0, REPOSITORY)
from tests.provision.conftest import IMAGE, web
from tests.provision.machine import Machine
config = Config.of(store={"url": "sqlite:///" + FOLDER + "/store.db"})
registry = Registry(Store(config["store.url"]))
desk = Desk(registry, config)
with registry.store.transaction() as tx:
    for document in (IMAGE, web(hostname="web${count}.example")):
        registry.put(tx, document.kind, document.name, document)
board = ProvisionBoard(config=config)
board
"""
BOOT = (
    "import threading; threading.Timer(1.0, lambda: [Machine(desk, number).boot() for number in range(1, 6)]).start()"
)


def _says(text: str) -> str:
    return f"document.querySelector('.srt-provision')?.innerText.includes({text!r})"


def test_machines_appear_and_a_rule_is_tried(lab: Lab, browser: Browser) -> None:
    """Without a click: the board is up to date; three tabs by keyboard or mouse say the rest."""
    from tests.conftest import REPOSITORY

    names = f"REPOSITORY, FOLDER = {str(REPOSITORY)!r}, {str(lab.work)!r}\n"
    lab.write("provision.ipynb", names + OPEN.replace("board = ", f"{BOOT}\nboard = "))
    tab = lab.open(browser, "provision.ipynb")
    tab.run()
    page = tab.page
    page.wait_for_function(_says("web5.example"), timeout=60_000)
    keep(page, "provision-board")
    page.locator(".srt-provision .lm-TabBar-tabLabel", has_text="Try a rule").click()
    page.wait_for_function(_says("true of 5"))
    page.locator(".srt-provision textarea").fill('["=", ["fact", "cpus"], 9]')
    page.wait_for_function(_says("true of 0"))
    keep(page, "provision-rule")
    page.locator(".srt-provision .lm-TabBar-tabLabel", has_text="One machine").click()
    field = page.locator(".srt-provision input").first
    field.fill("SN3")
    page.wait_for_function(_says("node-bound-to-policy"))
    keep(page, "provision-machine")
    assert_clean(tab)
    tab.close()
