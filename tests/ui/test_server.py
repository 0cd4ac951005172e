"""The server in a real browser: log in, run, approve as somebody else, live status, by keyboard alone, large, and in the dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.runbook.schedule import Schedule
from sretoolkit.runbook.schedules import Schedules
from sretoolkit.store import Store
from tests.plan.steps import Folder
from tests.server.conftest import POLICIES, READING, provider
from tests.server.provider import OpenIdProvider
from tests.server.serving import Served
from tests.ui.looks import keep

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route

__all__ = ["provider"]  # a fixture
pytestmark = pytest.mark.ui
HANGING = (
    "from pathlib import Path\nfrom sretoolkit.plan import Plan\nfrom tests.plan.steps import Folder",
    ("folder: str  # where the files are", ["parameters"]),
    "world = Folder(Path(folder))\nplan = Plan('write three files', [world.step(name) for name in 'abc'])\nplan",
    'print("before the plan")\nplan.run()',
    ('print("verified")', ["after-apply"]),
)


class Person:
    """Somebody's browser; what its console complains of, and what it asks of other places, is kept."""

    def __init__(self, browser: Browser, home: str, provider: OpenIdProvider, **options: Any) -> None:
        self.context: BrowserContext = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        self.errors: list[str] = []
        self.strangers: list[str] = []
        self._homes = (home, provider.url, "data:", "blob:")
        self.home = home
        self.context.route("**/*", self._asked)
        self.page: Page = self.context.new_page()
        self.page.on("console", self._told)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _asked(self, route: Route) -> None:
        if route.request.url.startswith(self._homes):
            route.continue_()
        else:
            self.strangers.append(route.request.url)
            route.abort()

    def _told(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def log_in(self, provider: OpenIdProvider, email: str, *groups: str) -> Person:
        """By the button of the login page."""
        provider.somebody = {"email": email, "email_verified": True, "groups": list(groups)}
        self.page.goto(f"{self.home}/runbooks")
        self.page.get_by_role("link", name="Log in with").click()
        self.page.wait_for_url("**/runbooks")
        return self

    def keep(self, name: str) -> None:
        """A picture of the page where UI_PICTURES says; and nothing serious that axe-core finds."""
        keep(self.page, f"server-{name}", within="html", whole=True)

    def clean(self, *, refused: int = 0) -> None:
        """Nobody else was asked, and nothing was complained of but the forms that were refused on purpose."""
        others = [error for error in self.errors if "status of 422" not in error]
        assert ([], [], refused) == (others, self.strangers, len(self.errors))
        self.context.close()


@pytest.fixture
def team(
    own_home: Path, config: Config, write_notebook: Callable[..., Path], provider: OpenIdProvider
) -> Iterator[Served]:
    """A server for several people, with a runbook that reads and one that takes an approval."""
    write_notebook(
        *READING, name="adding", title="Add two numbers", purpose="Adds two numbers", risk="none: it reads", owner="SRE"
    )
    about = {
        "purpose": "Writes three files, one after the other",
        "risk": "what is in them is overwritten",
        "owner": "SRE",
    }
    write_notebook(*HANGING, name="guarded", title="Write three files", approval=True, **about)
    oidc = "\n".join(f'{name} = "{value}"' for name, value in provider.settings.items())
    sources = '[sources.prod]\nkind = "prometheus"\nurl = "http://127.0.0.1:9"\n'
    (own_home / "sretoolkit.toml").write_text(f"[oidc]\n{oidc}\n{sources}\n{POLICIES}")
    server = Served(own_home, config)
    yield server
    assert 0 == server.stop()


def test_a_change_from_the_form_to_the_proof(
    team: Served, provider: OpenIdProvider, browser: Browser, own_home: Path
) -> None:
    """One asks, another reads the plan and approves, both see it happen without a reload, and the journal proves it."""
    world = Folder(own_home / "world")
    world.step("b")
    ann = Person(browser, team.url, provider).log_in(provider, "ann@example.com")
    ben = Person(browser, team.url, provider).log_in(provider, "ben@example.com", "leads")
    ann.keep("runbooks")
    page = ann.page
    page.get_by_role("link", name="Write three files").click()
    page.get_by_role("button", name="Apply").click()
    page.get_by_text("1 to mend").wait_for()
    ann.keep("form-fault")
    page.get_by_label("folder").fill(str(world.path))
    page.get_by_label("Ticket").fill("INC-7")
    ann.keep("form")
    world.tell("b.do", "hang")
    page.get_by_role("button", name="Apply").click()
    page.locator("#story").get_by_text("awaiting approval").wait_for(timeout=60_000)
    page.get_by_text("You cannot approve it").wait_for()
    ann.keep("waits")

    ben.page.get_by_role("link", name="Approvals").click()
    ben.page.get_by_text("ann@example.com").first.wait_for()
    ben.keep("approval")
    ben.page.get_by_role("button", name="Approve this plan").click()
    for who in (ann, ben):
        who.page.locator("#story").get_by_text("running").wait_for(timeout=60_000)
    page.get_by_text("1 of 3 changes are made").wait_for(timeout=60_000)
    ann.keep("running")
    (world.path / "b.do").unlink()
    for who in (ann, ben):
        who.page.locator("#story").get_by_text("3 changes made and verified").wait_for(timeout=60_000)
    page.locator("#proof").get_by_text("whole").wait_for(timeout=30_000)
    page.locator("#cells summary", has_text="verified").wait_for(timeout=30_000)
    ann.keep("completed")
    page.reload()
    page.get_by_role("link", name="Open the record").wait_for()
    ann.keep("completed-reloaded")
    assert ["new"] * 3 == [world[name] for name in "abc"]
    page.get_by_role("link", name="Runs").click()
    page.get_by_role("cell", name="INC-7").wait_for()
    ann.keep("runs")
    page.get_by_role("link", name="Sources").click()
    page.get_by_text("critical").first.wait_for(timeout=30_000)
    ann.keep("sources")
    ann.clean(refused=1)
    ben.clean()


def test_all_of_it_by_keyboard(team: Served, provider: OpenIdProvider, browser: Browser) -> None:
    """From the first page to the result with Tab, Enter and letters; what has the focus is seen."""
    ann = Person(browser, team.url, provider).log_in(provider, "ann@example.com")
    page = ann.page
    page.goto(f"{team.url}/runbooks")
    page.keyboard.press("Tab")
    assert "Skip to the content" == page.evaluate("document.activeElement.textContent")
    ann.keep("keyboard-skip")
    page.keyboard.press("Enter")
    _tab_to(page, "Add two numbers")
    page.keyboard.press("Enter")
    page.wait_for_url("**/runbooks/adding")
    _tab_to(page, "p.left")
    page.keyboard.type("40")
    assert "none" != page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    ann.keep("keyboard-form")
    _tab_to(page, "Plan")
    page.keyboard.press("Enter")
    page.locator("#story").get_by_text("completed").wait_for(timeout=60_000)
    _tab_to(page, "Log out")
    page.keyboard.press("Enter")
    page.wait_for_url("**/login")
    ann.clean()


def _tab_to(page: Page, name: str) -> None:
    """Press Tab until something has the focus whose text, id or name is this."""
    what = "[document.activeElement.textContent.trim(), document.activeElement.id]"
    for _ in range(60):
        page.keyboard.press("Tab")
        if name in page.evaluate(what):
            return
    raise AssertionError(f"{name} cannot be reached by Tab")


@pytest.mark.parametrize("look", ["large", "dark", "phone-dark"])
def test_it_is_readable_large_and_in_the_dark(
    team: Served, provider: OpenIdProvider, browser: Browser, look: str, own_home: Path
) -> None:
    """At 400 % nothing is cut off or scrolls sideways; in the dark the contrast holds."""
    options: dict[str, Any] = {"color_scheme": "light" if look == "large" else "dark"}
    ann = Person(browser, team.url, provider, **options)
    if look != "dark":
        ann.page.set_viewport_size({"width": 320, "height": 256 if look == "large" else 640})
    ann.log_in(provider, "ann@example.com")
    page = ann.page
    page.goto(f"{team.url}/runbooks/guarded")
    page.get_by_label("folder").fill(str(own_home / "world"))
    page.get_by_role("button", name="Plan").click()
    page.locator("#story").get_by_text("planned").wait_for(timeout=60_000)
    page.locator("#cells details").first.wait_for(timeout=20_000)
    for name, path in (
        ("run", ""),
        ("runs", "/"),
        ("form", "/runbooks/guarded"),
        ("runbooks", "/runbooks"),
        ("approvals", "/approvals"),
    ):
        if path:
            page.goto(team.url + path)
        ann.keep(f"{look}-{name}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} scrolls sideways"
    ann.clean()


def test_without_javascript_everything_is_there(team: Served, provider: OpenIdProvider, browser: Browser) -> None:
    """A run is asked for and read with scripts switched off; one reloads by hand."""
    ann = Person(browser, team.url, provider, java_script_enabled=False).log_in(provider, "ann@example.com")
    page = ann.page
    page.goto(f"{team.url}/runbooks/adding")
    page.get_by_label("left").fill("40")
    page.get_by_role("button", name="Plan").click()
    page.wait_for_url("**/runs/*")
    team.ended(page.url.rpartition("/")[2])
    page.reload()
    assert "completed" in page.locator("#story").inner_text()
    assert "42" in page.locator("#cells").inner_text() or page.locator("#cells pre.output").last.text_content()
    ann.clean()


def test_schedules_are_read_and_paused(team: Served, provider: OpenIdProvider, browser: Browser) -> None:
    """What is due next, what became of it, and a button to let it rest: in the light and on a phone in the dark."""
    with Store(team.config["store.url"]) as store:
        schedules = Schedules(store)
        about: dict[str, Any] = {
            "runbook": "adding",
            "actor": {"user": "ann", "identity": "", "via": "local"},
            "parameters": {"left": 1},
        }
        schedules.add(Schedule(id="s1", name="sums-at-night", cron="30 2 * * 1-5", zone="Europe/Berlin", **about))
        schedules.add(Schedule(id="s2", name="sums-often", cron="* * * * *", missed="once", **about))
        store.write("UPDATE schedules SET ticked = ticked - 61, due = due - 61 WHERE id = 's2'")
        assert poll(lambda: schedules.history("sums-often"), timeout=30)
        team.ended(schedules.history("sums-often")[-1].run)
    ann = Person(browser, team.url, provider).log_in(provider, "ann@example.com")
    ann.page.get_by_role("link", name="Schedules").click()
    ann.keep("schedules")
    ann.page.get_by_role("button", name="Pause sums-often").click()
    ann.page.get_by_text("paused by ann@example.com").wait_for()
    ann.clean()
    phone = Person(browser, team.url, provider, color_scheme="dark").log_in(provider, "ann@example.com")
    phone.page.set_viewport_size({"width": 375, "height": 800})
    phone.page.goto(f"{team.url}/schedules")
    phone.keep("schedules-phone-dark")
    phone.clean()
