"""A real nginx as the router: shares in effect and seen, what a reload costs, and what nginx does not take put back."""

from __future__ import annotations

import shutil
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, GateFailed, HostError, PlanError
from sretoolkit.plan import Context
from sretoolkit.plan.step import World
from sretoolkit.rollout.rollout import Rollout
from sretoolkit.rollout.router import Router
from sretoolkit.rollout.steps import SetWeight
from sretoolkit.store import Store
from tests.rollout.memory import World as Memory
from tests.stack.nginx import Nginx

pytestmark = pytest.mark.live


@pytest.fixture
def proxy() -> Iterator[Nginx]:
    """One of its own for each test."""
    if not shutil.which("nginx"):
        pytest.skip("nginx is missing; install it: apt-get install nginx-light")
    with Nginx() as started:
        assert poll(lambda: started.served.get("200", 0) > 50, timeout=20)
        yield started


def router_of(proxy: Nginx, **more: Any) -> Router:
    """The router, by its options."""
    return Router.of({**proxy.options, **more})


def rollout_of(proxy: Nginx, world: Memory, **more: Any) -> Rollout:
    """A canary whose requests this nginx shares out."""
    strategy = {"kind": "canary", "steps": [5, 50], "bake": "1s"}
    return Rollout.of("shop", {
        "workload": {"kind": "memory", "path": str(world.path)}, "router": router_of(proxy, **more).to_dict(),
        "strategy": strategy,
    })  # fmt: skip


def asked(proxy: Nginx, number: int = 1, **headers: str) -> Counter[str]:
    """Which version answered how often, each asked over a connection of its own."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    found: Counter[str] = Counter()
    for _ in range(number):
        request = urllib.request.Request(f"http://127.0.0.1:{proxy.port}/health", headers=headers)
        with opener.open(request, timeout=5) as answer:
            found[answer.read().decode()] += 1
    return found


def test_a_canary_is_seen_to_get_its_shares_and_little_is_lost(
    proxy: Nginx, tmp_path: Path, config: Config, store: Store, ctx: Context
) -> None:
    """5 %, half, all, none: four reloads, each split seen; lost is at most what was being sent on kept connections.

    Once the candidate has no share, nothing is counted any more.
    """
    outcome = (
        rollout_of(proxy, Memory(tmp_path / "world.json"))
        .plan("2", config=config)
        .run(apply=True, config=config, store=store)
    )
    before = proxy.served["sent"]
    assert poll(lambda: proxy.served["sent"] > before + 300, timeout=30)

    assert "completed" == outcome.state
    assert 4 == proxy.reloads()
    assert proxy.served.get("lost", 0) <= 2 * 4
    assert proxy.served["200"] + proxy.served["500"] + proxy.served.get("lost", 0) >= before
    counted = router_of(proxy).split(ctx)
    assert {"1.0": 20} == asked(proxy, 20)
    assert counted == router_of(proxy).split(ctx)


@pytest.mark.parametrize("percent", [1, 5, 50, 100, 0])
def test_a_share_is_in_effect_once_it_is_set(proxy: Nginx, ctx: Context, percent: int) -> None:
    """From the very next request on, and after somebody else's reload; the same share once more reloads nothing."""
    router = router_of(proxy)
    router.set_weight(ctx, 25)
    router.set_weight(ctx, percent)
    told = asked(proxy, 300)["2.0"] / 3
    router.set_weight(ctx, percent)

    assert (percent, 2) == (router.weight(ctx), proxy.reloads())
    assert abs(told - percent) <= 4.5 * (percent * (100 - percent) / 300) ** 0.5
    proxy.reload()
    assert poll(lambda: proxy.reloads() == 3, timeout=10)
    assert percent == router.weight(ctx)


def test_what_is_only_written_is_not_set(proxy: Nginx, ctx: Context) -> None:
    """A runner that died between the file and the reload: the old share counts; the step is done again, or the file mended."""
    router = router_of(proxy)
    step = SetWeight(router=router.to_dict(), before=0, after=50)
    proxy.file.write_text(router.text(50))  # type: ignore[attr-defined]
    assert World.BEFORE is step.verify(ctx)[0]
    step.tidy(ctx)
    assert (router.text(0), 0) == (proxy.file.read_text(), proxy.reloads())  # type: ignore[attr-defined]
    proxy.file.write_text(router.text(50))  # type: ignore[attr-defined]
    router.set_weight(ctx, 50)
    assert (50, 1) == (router.weight(ctx), proxy.reloads())


def test_the_command_for_a_person_does_the_same(proxy: Nginx, ctx: Context) -> None:
    """What is printed when nobody can take a share back, typed into a shell."""
    router = router_of(proxy)
    router.set_weight(ctx, 50)
    line = router.by_hand(0).partition(": ")[2]
    from sretoolkit.hosts.host import host_of

    host_of(ctx, "localhost").run(line, timeout=30)
    assert poll(lambda: router.weight(ctx) == 0, timeout=10)
    assert router.text(0) == proxy.file.read_text()  # type: ignore[attr-defined]


def test_a_person_s_own_share_is_told(proxy: Nginx, ctx: Context) -> None:
    """The line edited in the file and reloaded: the rollout sees that its share is gone."""
    router = router_of(proxy)
    router.set_weight(ctx, 5)
    proxy.file.write_text(proxy.file.read_text().replace("5% new", "40% new"))
    proxy.reload()

    assert 40 == router.weight(ctx)


def test_a_header_or_a_cookie_leads_to_the_candidate(proxy: Nginx, ctx: Context) -> None:
    """Whatever the share; and no longer once it is taken away."""
    router = router_of(proxy)
    match = {"header": "X-Canary", "value": "yes"}
    router.set_match(ctx, match)
    assert ({"2.0": 10}, {"1.0": 10}) == (asked(proxy, 10, **{"X-Canary": "yes"}), asked(proxy, 10))
    router.set_weight(ctx, 100)
    router.set_weight(ctx, 0)
    assert match == router.match(ctx)
    router.set_match(ctx, {"cookie": "canary", "value": "yes"})
    assert ({"2.0": 10}, {"1.0": 10}) == (
        asked(proxy, 10, Cookie="a=b; canary=yes"),
        asked(proxy, 10, **{"X-Canary": "yes"}),
    )
    router.set_match(ctx, None)
    assert {"1.0": 10} == asked(proxy, 10, Cookie="canary=yes")


def test_a_share_that_does_not_come_about_takes_it_back(
    proxy: Nginx, tmp_path: Path, config: Config, store: Store
) -> None:
    """All customers look alike to the chosen key, so that none goes to the candidate: the split is seen, all is undone."""
    world = Memory(tmp_path / "world.json")
    plan = rollout_of(proxy, world, key="everybody").plan("2", config=config)
    with pytest.raises(GateFailed, match=r"(100|0)\.0 % of"):
        plan.run(apply=True, config=config, store=store)

    assert "1" == world.read()["tracks"]["stable"]["version"]
    assert 0 == router_of(proxy).weight(Context(config=config))


def test_what_nginx_does_not_take_is_put_back(proxy: Nginx, ctx: Context) -> None:
    """Somebody's broken file beside ours: tested before the reload, nothing is reloaded, our file is as it was."""
    main = proxy.folder / "nginx.conf"
    main.write_text(main.read_text().replace("access_log /dev/null;", "nonsense;"))
    before = proxy.file.read_text()
    router = router_of(proxy)
    for attempt in (lambda: router.set_weight(ctx, 50), lambda: router.check(ctx)):
        with pytest.raises(HostError, match='unknown directive "nonsense"'):
            attempt()

    assert (before, 0, 0) == (proxy.file.read_text(), router.weight(ctx), proxy.reloads())


def test_what_it_costs_is_said_before(proxy: Nginx, ctx: Context) -> None:
    """The reload always; without a log also that no split is seen."""
    (cost,) = router_of(proxy).check(ctx)
    assert "reloads nginx, which ends the connections that clients keep" in cost
    assert "nginx counts no requests" in router_of(proxy, log="").check(ctx)[1]
    assert "split" not in router_of(proxy, log="").can


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"port": 9}, HostError, "does not tell its share"),
        ({"name": "shoes"}, HostError, "not the file of this router"),
        ({"command": ["nginx", "-c", "/nowhere.conf"]}, HostError, "/nowhere.conf"),
        ({"file": "/nowhere.conf"}, PlanError, "has not the file /nowhere.conf"),
        ({"stable": "a; b"}, ConfigError, "cannot stand in nginx's configuration"),
    ],
)
def test_what_is_wrong_is_said_before_the_start(
    proxy: Nginx, ctx: Context, wrong: dict[str, Any], error: type[Exception], said: str
) -> None:
    """What, where, and what there has to be."""
    with pytest.raises(error) as caught:
        router_of(proxy, **wrong).check(ctx)

    assert said in str(caught.value)


@pytest.mark.parametrize("place", ["the server", "the http block"])
def test_a_server_that_would_not_be_counted_is_refused(proxy: Nginx, ctx: Context, place: str) -> None:
    """An access log of its own, or none at all, switches ours off: it would look as if there were no requests."""
    main = proxy.folder / "nginx.conf"
    old, new = {
        "the server": ("location /", "access_log /dev/null; location /"),
        "the http block": ("access_log /dev/null;", "access_log off;"),
    }[place]
    main.write_text(main.read_text().replace(old, new))
    with pytest.raises(PlanError, match="nothing comes to"):
        router_of(proxy).check(ctx)


def test_a_configuration_that_passes_nothing_on_is_refused(proxy: Nginx, ctx: Context) -> None:
    """The share would be set, and no request would go by it."""
    main = proxy.folder / "nginx.conf"
    main.write_text(main.read_text().replace("proxy_pass http://$shop;", "proxy_pass http://old;"))
    with pytest.raises(PlanError, match=r"proxy_pass to \$shop"):
        router_of(proxy).check(ctx)
