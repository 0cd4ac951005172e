"""A real HAProxy as the router: shares that come about, nothing lost, kept over a reload, and everybody else's changes seen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import GateFailed, HostError, PlanError, UndoFailed
from sretoolkit.plan import Context
from sretoolkit.rollout.rollout import Rollout
from sretoolkit.rollout.router import Router
from sretoolkit.rollout.routers.haproxy import weights
from sretoolkit.store import Store
from tests.rollout.memory import World
from tests.stack.haproxy import Haproxy

pytestmark = pytest.mark.live


@pytest.fixture
def proxy() -> Iterator[Haproxy]:
    """One of its own for each test."""
    if not shutil.which("haproxy"):
        pytest.skip("haproxy is missing; install it: apt-get install haproxy")
    with Haproxy() as started:
        assert poll(lambda: started.served.get("200", 0) > 50, timeout=20)
        yield started


def router_of(proxy: Haproxy, **more: Any) -> Router:
    """The router, by its options."""
    given = {
        "kind": "haproxy",
        "socket": str(proxy.socket),
        "backend": "shop",
        "candidate": "canary-.*",
        "config": str(proxy.config),
    }
    return Router.of({**given, **more})


def rollout_of(proxy: Haproxy, world: World, bake: str = "1s") -> Rollout:
    """A canary whose requests this HAProxy shares out."""
    strategy = {"kind": "canary", "steps": [5, 50], "bake": bake}
    return Rollout.of("shop", {
        "workload": {"kind": "memory", "path": str(world.path)}, "router": router_of(proxy).to_dict(), "strategy": strategy,
    })  # fmt: skip


def nothing_lost(proxy: Haproxy) -> bool:
    """After some more requests: every one had an answer."""
    before = proxy.served["sent"]
    return poll(lambda: proxy.served["sent"] > before + 300, timeout=30) is not None and not proxy.served.get("lost", 0)


def test_a_canary_and_back_without_a_lost_request(proxy: Haproxy, tmp_path: Path, config: Config, store: Store) -> None:
    """5 %, half, all, none: the observed split passes its gate at each, and what HAProxy and file say is what was set."""
    world = World(tmp_path / "world.json")
    outcome = rollout_of(proxy, world).plan("2", config=config).run(apply=True, config=config, store=store)

    assert "completed" == outcome.state
    assert nothing_lost(proxy)
    assert "canary-1 127.0.0.1" in proxy.config.read_text()
    assert [
        line.split(" weight ")[1].split()[0] for line in proxy.config.read_text().splitlines() if " weight " in line
    ] == ["100"] * 3 + ["0"]


def test_a_share_that_does_not_come_about_takes_it_back(
    proxy: Haproxy, tmp_path: Path, config: Config, store: Store
) -> None:
    """HAProxy says 5 %, but its new server answers nobody (it is stopped there): the split is seen, and all is undone."""
    world = World(tmp_path / "world.json")
    plan = rollout_of(proxy, world).plan("2", config=config)
    proxy.say("set server shop/canary-1 agent down")
    proxy.say("set server shop/canary-1 health down")
    with pytest.raises(GateFailed, match=r"0\.0 % of"):
        plan.run(apply=True, config=config, store=store)

    assert "1" == world.read()["tracks"]["stable"]["version"]
    assert nothing_lost(proxy)


@pytest.mark.parametrize("percent", [1, 5, 25, 50, 100, 0])
def test_weights_are_in_effect_and_in_the_file(proxy: Haproxy, ctx: Context, percent: int) -> None:
    """Set, read back, and read back again after a reload, which may cost who was just sending on a kept connection."""
    router = router_of(proxy)
    router.set_weight(ctx, percent)
    before = router.weight(ctx)
    proxy.reload()

    assert (percent, percent) == (before, router.weight(ctx))
    assert abs(router.achieved(ctx, percent) - percent) < 0.2
    nothing_lost(proxy)
    assert proxy.served.get("lost", 0) <= 3


def test_without_the_file_it_says_that_a_reload_drops_them(proxy: Haproxy, ctx: Context) -> None:
    """A note beside the plan, and true."""
    router = router_of(proxy, config="")
    router.set_weight(ctx, 50)
    proxy.reload()

    assert "reload" in router.check(ctx)[0]
    assert 0 == router.weight(ctx)


def test_somebody_elses_weight_is_seen_and_not_fought(
    proxy: Haproxy, tmp_path: Path, config: Config, store: Store
) -> None:
    """Another hand on the runtime API: the rollout ends, that weight stays, and the commands are named."""
    world = World(tmp_path / "world.json")
    plan = rollout_of(proxy, world, bake="30s").plan("2", config=config)
    original = World.set
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sretoolkit.rollout.gates.Bake.check", _disturbed(proxy))
        patch.setattr(World, "set", original)
        with pytest.raises(UndoFailed) as caught:
            plan.run(apply=True, config=config, store=store)

    assert "canary-1 127.0.0.1" in proxy.config.read_text()
    assert any("set server shop/NAME weight 0" in line for line in caught.value.by_hand)


def _disturbed(proxy: Haproxy) -> Any:
    from sretoolkit.rollout.gates import Bake

    check = Bake.check

    def disturb(self: Bake, ctx: Context) -> Any:
        proxy.say("set server shop/canary-1 weight 77")
        return check(self, ctx)

    return disturb


def test_a_file_that_haproxy_does_not_take_stays_as_it_was(proxy: Haproxy, ctx: Context) -> None:
    """Checked before it is put in place; the runtime weights are not touched either."""
    broken = proxy.config.read_text() + "\nthis is no line of a configuration\n"
    proxy.config.write_text(broken)
    with pytest.raises(HostError, match="does not take"):
        router_of(proxy).set_weight(ctx, 50)

    assert broken == proxy.config.read_text()
    assert 0 == router_of(proxy).weight(ctx)
    assert not list(proxy.folder.glob("*.sretoolkit"))


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"socket": "/nowhere.sock"}, HostError, "/nowhere.sock"),
        ({"backend": "shoes"}, HostError, "no backend shoes"),
        ({"candidate": "new-.*"}, PlanError, "it has: old-1"),
        ({"config": "/nowhere.cfg"}, HostError, "/nowhere.cfg"),
    ],
)
def test_what_is_wrong_is_said_before_the_start(
    proxy: Haproxy, ctx: Context, wrong: dict[str, Any], error: type[Exception], said: str
) -> None:
    """What, where, and what there is."""
    with pytest.raises(error) as caught:
        router_of(proxy, **wrong).check(ctx)

    assert said in str(caught.value)


@pytest.mark.parametrize("percent", range(0, 101, 5))
@pytest.mark.parametrize(("ours", "rest"), [(1, 3), (2, 10), (1, 10), (5, 5)])
def test_whole_weights_come_near_to_every_share(percent: int, ours: int, rest: int) -> None:
    """Within 0..256, never all 0, off by a third of a percent at most."""
    new, old = weights(percent, ours, rest)

    assert 0 <= new <= 256
    assert 0 <= old <= 256
    assert new + old > 0
    assert abs(100 * new * ours / (new * ours + old * rest) - percent) <= 0.3
