"""From the launcher to a run's record, by mouse and by keyboard, on the real runbook in a network namespace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from sretoolkit.actor import Actor
from sretoolkit.clock import poll
from sretoolkit.journal import Keys, close_run, open_run
from sretoolkit.lease import Leases
from sretoolkit.store import Store
from tests.live.conftest import algorithm_of, netns, other
from tests.ui.looks import assert_clean, keep, switch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

    from tests.ui.lab import Lab, Tab

__all__ = ["netns", "other"]  # fixtures
pytestmark = pytest.mark.ui
WAIT = ".jp-LauncherCard[title^='Waits']"
WAITING = {
    "nbformat": 4, "nbformat_minor": 5,
    "metadata": {"sretoolkit": {"title": "Wait", "purpose": "Waits until it is aborted", "changes": False}},
    "cells": [{
        "cell_type": "code", "id": "wait", "metadata": {}, "outputs": [], "execution_count": None,
        "source": "import time\nprint('waiting since', time.ctime())\ntime.sleep(600)",
    }],
}  # fmt: skip
UNLABELLED = """() => [...document.querySelectorAll('.srt-form input, .srt-form select, .srt-form textarea, .srt-form button')]
  .filter(each => each.checkVisibility() && !(each.labels?.length || each.ariaLabel || each.title || each.innerText))
  .map(each => each.outerHTML)"""
CARD = ".jp-LauncherCard[title^='Change the TCP congestion']"


def button(page: Page, text: str, within: str = ".srt-form") -> Locator:
    """The button with exactly this word that is to be seen."""
    return page.locator(f"{within} button:visible").filter(has_text=text).first


def says(page: Page, text: str, within: str = ".srt-form .srt-head") -> None:
    """Wait until that part says it; without one the head of the run that is shown."""
    page.wait_for_function(
        "([where, text]) => document.querySelector(where)?.innerText.includes(text)", arg=[within, text], timeout=60_000
    )


def run_ids(page: Page) -> list[str]:
    """The run that a form shows, if it shows one."""
    return page.locator(".srt-form .srt-head small").all_inner_texts()


def comes_to(page: Page, state: str, before: list[str]) -> None:
    """Wait until another run than before is shown, and is in this state."""
    page.wait_for_function(
        """([state, before]) => {
          const head = document.querySelector('.srt-form .srt-head');
          const id = head?.querySelector('small')?.innerText;
          return id && !before.includes(id) && head.innerText.includes(state);
        }""",
        arg=[state, before],
        timeout=60_000,
    )


def press(page: Page, text: str, state: str) -> None:
    """Press a button that starts a run, and wait until that run is in this state."""
    before = run_ids(page)
    button(page, text).click()
    comes_to(page, state, before)


@contextmanager
def held(lab: Lab, target: str) -> Iterator[None]:
    """Somebody else has the target: a run that wants it waits."""
    with Store(f"sqlite:///{lab.home}/state/sretoolkit/store.db") as store:
        journal = open_run(
            store, Keys(lab.home / "state/sretoolkit/keys"), runbook="other", actor=Actor("eve"), mode="apply"
        )
        leases = Leases(store, journal.run, actor=Actor("eve"), ttl=90).take([target])
        yield
        leases.release()
        close_run(journal, Keys(lab.home / "state/sretoolkit/keys"), state="completed", exit_code=0)


def opened(lab: Lab, browser: Browser, card: str) -> Tab:
    """The launcher, and a click on a card."""
    tab = lab.launcher(browser)
    tab.page.locator(card).click()
    tab.page.wait_for_selector(".srt-form", timeout=60_000)
    return tab


def test_a_change_is_planned_applied_aborted_and_taken_back(lab: Lab, browser: Browser, netns: str, other: str) -> None:
    """Card, Plan, Apply, Abort at once; Plan, Apply, Undo, Run this plan: the kernel says each time what it should."""
    (lab.home / "sretoolkit.toml").write_text(
        f'[hosts.box]\nconnection = "local"\nnetns = "{netns}"\n[lease]\nwait = "60s"\n'
    )
    tab = lab.launcher(browser)
    page = tab.page
    page.wait_for_selector(CARD)
    keep(page, "launcher", within="")
    page.locator(CARD).click()
    page.wait_for_selector(".srt-form", timeout=60_000)
    assert button(page, "Apply").is_disabled()
    page.locator(".srt-field-host input").fill("box")
    page.locator(".srt-field-host input").press("Tab")
    page.locator(".srt-field-algorithm input").fill(other)
    keep(page, "form")
    press(page, "Plan", "planned")
    keep(page, "form-planned")
    with held(lab, "sysctl:box/net.ipv4.tcp_congestion_control"):  # so that it is at work when it is aborted
        button(page, "Apply").click()
        button(page, "Abort").click(timeout=30_000)
        says(page, "aborted")
    keep(page, "form-aborted")
    assert "reno" == algorithm_of(netns)
    press(page, "Plan", "planned")
    press(page, "Apply", "completed")
    keep(page, "form-applied")
    assert other == algorithm_of(netns)
    button(page, "Undo").click()
    page.wait_for_selector(".srt-plan")
    keep(page, "form-undo")
    button(page, "Run this plan", ".srt-plan").click()
    says(page, "completed", ".srt-plan .srt-head")
    keep(page, "form-undone")
    assert "reno" == algorithm_of(netns)
    assert_clean(tab)
    tab.close()


def test_a_reload_finds_the_run_and_so_does_another_browser(lab: Lab, browser: Browser) -> None:
    """The page is thrown away while a run goes on; the card, in a new browser, shows that run, and can abort it."""
    (lab.home / "runbooks").mkdir(exist_ok=True)
    (lab.home / "runbooks/wait.ipynb").write_text(json.dumps(WAITING))
    first = lab.launcher(browser)
    first.page.locator(WAIT).click()
    first.page.wait_for_selector(".srt-form", timeout=60_000)
    press(first.page, "Run", "running")
    first.page.goto(f"{lab.url}/lab/tree/desk/wait.ipynb")
    says(first.page, "running")
    second = lab.launcher(browser)
    second.page.locator(WAIT).click()
    says(second.page, "running")
    says(second.page, "waiting since", ".srt-form .srt-run")
    keep(second.page, "reloaded")
    button(second.page, "Abort").click()
    says(second.page, "aborted")
    assert_clean(second)
    second.close()
    first.abandon()


def test_it_is_driven_by_keyboard_in_the_dark(lab: Lab, browser: Browser) -> None:
    """Tab and Space are enough, in the order of reading; what is shown is readable on dark ground."""
    tab = opened(lab, browser, ".jp-LauncherCard[title^='Find containers']")
    page = tab.page
    switch(page, "Dark")
    page.locator(".srt-field-stop_signal input").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("SIGTERM")
    names = []
    for _ in range(8):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.innerText || document.activeElement.placeholder"))
        if names[-1] == "Run":
            break
    assert "Run" == names[-1], names
    before = run_ids(page)
    page.keyboard.press("Space")
    comes_to(page, "completed", before)
    keep(page, "dark")
    assert [] == page.evaluate(UNLABELLED)
    page.locator(".srt-field-watch input").fill("soon")
    says(page, "soon", ".srt-form")
    assert button(page, "Run").is_disabled()
    keep(page, "dark-fault")
    page.locator(".srt-field-watch input").fill("0s")
    switch(page, "Light")
    assert_clean(tab)
    tab.close()


def test_the_palette_opens_records_proofs_and_runs(lab: Lab, browser: Browser) -> None:
    """The newest record and the verified journal, in frames without rights; a run is handed over and seen to be."""
    tab = opened(lab, browser, ".jp-LauncherCard[title^='Find containers']")
    page = tab.page
    press(page, "Run", "completed")
    tab.command("sretoolkit:record")
    record = page.frame_locator("iframe[src*='sretoolkit/record']")
    record.get_by_text("PID 1 health").first.wait_for(timeout=30_000)
    keep(page, "record", within="")
    tab.command("sretoolkit:verify")
    page.frame_locator("iframe[src*='sretoolkit/journal']").get_by_text("The journal hangs together").wait_for(
        timeout=30_000
    )
    keep(page, "journal", within="")
    page.evaluate("void window.jupyterapp.commands.execute('sretoolkit:pass-on')")
    for text in ("", "bob", "watch the disk"):
        field = page.locator(".jp-Dialog input")
        field.wait_for()
        field.fill(text or "last")
        title = page.locator(".jp-Dialog-header").inner_text()
        field.press("Enter")
        page.wait_for_function(
            "title => document.querySelector('.jp-Dialog-header')?.innerText !== title", arg=title, timeout=10_000
        )
    page.wait_for_selector(".srt-runs select[multiple]", timeout=60_000)
    page.locator(".srt-runs select[multiple] option").first.click()
    button(page, "Open", ".srt-runs").click()
    says(page, "passed on to bob: watch the disk", ".srt-runs .srt-head")
    keep(page, "runs")
    assert_clean(tab)
    tab.close()


def test_a_job_is_made_in_labs_own_dialog_and_runs(lab: Lab, browser: Browser) -> None:
    """From the palette: a copy of the runbook, the dialog of Lab's scheduler, and a run of ours in its list."""
    tab = lab.launcher(browser)
    page = tab.page
    page.evaluate("void window.jupyterapp.commands.execute('sretoolkit:schedule', { runbook: 'pid1_health' })")
    create = page.get_by_role("button", name="Create", exact=True)
    create.wait_for(timeout=60_000)
    page.locator("input[value*=pid1_health-]").first.wait_for()
    page.locator("input[name=jobName]").fill("nightly look")
    keep(page, "schedule", within="")
    create.click()
    page.get_by_text("nightly look").first.wait_for(timeout=60_000)

    def done() -> bool:
        jobs = lab.ask("scheduler/jobs")["jobs"]
        return any(job["name"] == "nightly look" and job["status"] == "COMPLETED" for job in jobs)

    assert poll(done, timeout=90, interval=0.5), lab.ask("scheduler/jobs")
    page.get_by_role("button", name="Reload").first.click()
    page.get_by_text("Completed").first.wait_for(timeout=30_000)
    keep(page, "jobs", within="")
    assert_clean(tab)
    tab.abandon()
