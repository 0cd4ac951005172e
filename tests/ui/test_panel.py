"""A runbook and a notebook as pages of buttons, by Voilà: nothing but the own server is asked, and only with the token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import REPOSITORY
from tests.ui.looks import assert_clean, keep
from tests.ui.test_runbooks import button, press, says

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, WebSocketRoute

pytestmark = pytest.mark.ui


def test_a_runbook_is_run_from_a_page_of_buttons(browser: Browser, tmp_path: Path) -> None:
    """By its name; the run ends with a record; a browser that goes away and another that comes find it."""
    from tests.ui.panel import Panel

    panel = Panel(tmp_path, "pid1_health")
    try:
        tab = panel.open(browser)
        tab.page.wait_for_selector(".srt-form", timeout=60_000)
        press(tab.page, "Run", "")
        assert_clean(tab)
        tab.abandon()
        again = panel.open(browser)
        says(again.page, "completed")
        keep(again.page, "panel")
        button(again.page, "Record").click()
        again.page.frame_locator("iframe[title=record]").get_by_text("PID 1 health").first.wait_for(timeout=30_000)
        keep(again.page, "panel-record")
        assert_clean(again)
        again.abandon()
        stranger = panel.open(browser, token="guessed")
        assert stranger.page.url.startswith(f"{panel.url}/login")
        stranger.abandon()
    finally:
        panel.close()


def test_what_changes_while_a_page_loads_is_not_lost(
    browser: Browser, own_home: Path, write_notebook: Callable[..., Path]
) -> None:
    """The run ends when the page has got how all stands and can not yet be told of changes: it hears of the end."""
    from tests.ui.panel import Panel

    signal = own_home / "signal"
    (own_home / "runbooks").mkdir()
    write_notebook(
        f"import pathlib\nfrom sretoolkit.clock import poll\n"
        f"assert poll(pathlib.Path({str(signal)!r}).exists, timeout=90)\nprint('heard it')",
        name="runbooks/signal",
        changes=False,
    )
    panel = Panel(own_home, "signal")
    try:
        tab = panel.open(browser)
        tab.page.wait_for_selector(".srt-form", timeout=60_000)
        press(tab.page, "Run", "running")
        tab.abandon()
        tab = panel.open(browser, before=lambda page: _end_while_it_loads(page, signal))
        says(tab.page, "completed")
        says(tab.page, "heard it", ".srt-form .srt-run")
        assert_clean(tab)
        tab.abandon()
    finally:
        panel.close()


def _end_while_it_loads(page: Page, file: Path) -> None:
    """Let the run end when the page is told how its widgets stand, and hold that back until the end was told, or 3 s."""

    def route(browser: WebSocketRoute) -> None:
        held: list[str | bytes] = []
        server = browser.connect_to_server()

        def release() -> None:
            while held:
                browser.send(held.pop())

        def told(message: str | bytes) -> None:
            data = message if isinstance(message, bytes) else message.encode()
            if b"update_states" in data:
                held.append(message)
                file.touch()
                page.evaluate("() => { setTimeout(() => console.info('time is up'), 3000) }")
                return
            browser.send(message)
            if b"completed" in data and b"<small>run" in data:  # its head
                release()

        page.on("console", lambda said: release() if said.text == "time is up" else None)
        server.on_message(told)

    page.route_web_socket("**/channels*", route)


def test_a_notebook_is_served_by_a_part_of_its_name(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sretoolkit panel metrics` in a checkout: its panel is there, its code is not."""
    from tests.ui.panel import Panel

    (tmp_path / "notebooks").symlink_to(REPOSITORY / "notebooks")
    panel = Panel(tmp_path, "metrics")
    try:
        tab = panel.open(browser)
        tab.page.wait_for_selector(".srt-explorer", timeout=60_000)
        keep(tab.page, "panel-notebook")
        assert "import" not in tab.page.locator("body").inner_text()
        assert_clean(tab)
        tab.abandon()
    finally:
        panel.close()
