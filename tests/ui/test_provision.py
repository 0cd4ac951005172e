"""ProvisionBoard in JupyterLab: machines appear, a rule is tried, a machine's log is read; a command is filled in and run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sretoolkit.provision.registry import Registry
from sretoolkit.store import Store
from tests.ui.looks import assert_clean, keep
from tests.ui.test_runbooks import button, says

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.ui.lab import Lab, Tab

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


def _open(lab: Lab, browser: Browser, folder: Path, *before: str) -> Tab:
    """A notebook with the board on a store in the folder."""
    from tests.conftest import REPOSITORY

    names = f"REPOSITORY, FOLDER = {str(REPOSITORY)!r}, {str(folder)!r}\n"
    lab.write("provision.ipynb", names + OPEN.replace("board = ", "\n".join([*before, "board = "])))
    tab = lab.open(browser, "provision.ipynb")
    tab.run()
    return tab


def _view(page: Page, name: str) -> None:
    page.locator(".srt-provision .lm-TabBar-tabLabel", has_text=name).click()


def test_machines_appear_and_a_rule_is_tried(lab: Lab, browser: Browser, tmp_path: Path) -> None:
    """Without a click: the board is up to date; three tabs by keyboard or mouse say the rest."""
    tab = _open(lab, browser, tmp_path, BOOT)
    page = tab.page
    page.wait_for_function(_says("web5.example"), timeout=60_000)
    keep(page, "provision-board")
    _view(page, "Try a rule")
    page.wait_for_function(_says("true of 5"))
    page.locator(".srt-provision textarea").fill('["=", ["fact", "cpus"], 9]')
    page.wait_for_function(_says("true of 0"))
    keep(page, "provision-rule")
    _view(page, "One machine")
    field = page.locator(".srt-provision input").first
    field.fill("SN3")
    page.wait_for_function(_says("node-bound-to-policy"))
    keep(page, "provision-machine")
    assert_clean(tab)
    tab.close()


def test_a_command_is_filled_in_planned_and_run(lab: Lab, browser: Browser, tmp_path: Path) -> None:
    """What is wrong stands beside its field and there is no plan; what is right is read first, then it is so."""
    tab = _open(lab, browser, tmp_path)
    page = tab.page
    page.wait_for_selector(".srt-provision", timeout=60_000)
    _view(page, "Change")
    page.locator(".srt-command select").first.select_option("create-hook")
    page.wait_for_selector(".srt-field-timeout")
    page.locator(".srt-field-name input").fill("cmdb")
    page.locator(".srt-field-command input").fill("/bin/true, --quietly")
    page.locator(".srt-field-timeout input").fill("soon")
    button(page, "Plan", ".srt-command").click()
    beside = page.locator(".srt-field-timeout").locator("xpath=../following-sibling::*").get_by_role("alert")
    beside.get_by_text("'soon' is no int").wait_for()
    assert 0 == page.locator(".srt-plan").count()
    keep(page, "command-fault")

    page.locator(".srt-field-timeout input").fill("30")
    button(page, "Plan", ".srt-command").click()
    page.wait_for_selector(".srt-plan table")
    assert 0 == beside.count()
    assert [] == _hooks(tmp_path)
    keep(page, "command-plan")
    button(page, "Run this plan", ".srt-plan").click()
    says(page, "completed", ".srt-plan .srt-head")
    assert ["cmdb"] == _hooks(tmp_path)
    keep(page, "command-run")
    assert_clean(tab)
    tab.close()


def _hooks(folder: Path) -> list[str]:
    with Store(f"sqlite:///{folder}/store.db") as store:
        return list(Registry(store).documents("hook"))
