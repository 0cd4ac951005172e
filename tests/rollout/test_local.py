"""The embedded shop: shares come about exactly, no request is lost, and what does not start says why."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sretoolkit.clock import poll
from sretoolkit.errors import StepFailed, Unreachable
from sretoolkit.plan import Context
from sretoolkit.rollout.local.opening import Shop, open_shop
from sretoolkit.rollout.router import Router
from sretoolkit.rollout.workload import CANDIDATE, STABLE, Workload


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """An open shop with customers."""
    with open_shop(rate=100) as opened:
        yield opened


@pytest.fixture
def workload(shop: Shop, ctx: Context) -> Iterator[Workload]:
    """Its processes; no candidate is left behind."""
    part = Workload.of({"kind": "local", "folder": str(shop.folder)})
    yield part
    router = Router.of({"kind": "local", "folder": str(shop.folder)})
    router.set_weight(ctx, 0)
    part.set_track(ctx, CANDIDATE, None)


@pytest.fixture
def router(shop: Shop) -> Router:
    """Its proxy."""
    return Router.of({"kind": "local", "folder": str(shop.folder)})


def lost(shop: Shop) -> int:
    """Requests that got no answer, after some more were sent."""
    before = shop.served.get("sent", 0)
    assert poll(lambda: shop.served.get("sent", 0) > before + 100, timeout=30)
    return shop.served.get("lost", 0)


def ask(shop: Shop, headers: str = "") -> str:
    """The version that answers one request."""
    with socket.create_connection(("127.0.0.1", shop.port), timeout=10) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: shop\r\n{headers}\r\n".encode())
        return next(line for line in connection.recv(4096).decode().splitlines() if line.startswith("X-Version"))


def test_a_version_comes_and_goes_without_a_lost_request(
    shop: Shop, workload: Workload, router: Router, ctx: Context
) -> None:
    """Candidate made, given half, all, the stable one changed under it, and back: customers see nothing of it."""
    workload.set_track(ctx, CANDIDATE, {"version": "2.0", "replicas": 2})
    for percent in (50, 100):
        router.set_weight(ctx, percent)
        assert percent == router.weight(ctx)
    workload.set_track(ctx, STABLE, {"version": "2.0"})
    router.set_weight(ctx, 0)
    workload.set_track(ctx, CANDIDATE, None)
    workload.set_track(ctx, STABLE, {"version": "1.0"})

    assert 0 == lost(shop)
    assert {"version": "1.0", "replicas": 3} == workload.track(ctx, STABLE)


def test_who_is_removed_is_gone(shop: Shop, workload: Workload, ctx: Context) -> None:
    """Every process of a candidate ends with it."""
    workload.set_track(ctx, CANDIDATE, {"version": "2.0", "replicas": 3})
    of_candidate = router_state(shop)["pids"][-3:]
    workload.set_track(ctx, CANDIDATE, None)

    assert [] == [pid for pid in of_candidate if Path(f"/proc/{pid}").exists()]


def test_a_share_comes_about_exactly(shop: Shop, workload: Workload, router: Router, ctx: Context) -> None:
    """Of every hundred requests the candidate gets as many as its weight."""
    workload.set_track(ctx, CANDIDATE, {"version": "2.0", "replicas": 1})
    router.set_weight(ctx, 20)
    before = router.split(ctx)
    assert poll(lambda: router.split(ctx).stable > before.stable + 200, timeout=30)
    now = router.split(ctx)
    candidate = now.candidate - before.candidate

    assert abs(candidate / (candidate + now.stable - before.stable) - 0.2) < 0.01


def test_a_header_or_cookie_leads_to_the_candidate(
    shop: Shop, workload: Workload, router: Router, ctx: Context
) -> None:
    """Whatever the weight."""
    workload.set_track(ctx, CANDIDATE, {"version": "2.0", "replicas": 1})
    router.set_match(ctx, {"header": "X-Canary", "value": "yes"})
    with_header, without = ask(shop, "X-Canary: yes\r\n"), ask(shop)
    router.set_match(ctx, {"cookie": "canary", "value": "yes"})
    with_cookie = ask(shop, "Cookie: a=b; canary=yes\r\n")
    router.set_match(ctx, None)

    assert ("X-Version: candidate", "X-Version: stable", "X-Version: candidate") == (with_header, without, with_cookie)
    assert "X-Version: stable" == ask(shop, "X-Canary: yes\r\n")


def test_copies_reach_the_candidate_and_their_answers_nobody(
    shop: Shop, workload: Workload, router: Router, ctx: Context
) -> None:
    """The split counts no copies; the candidate still has something to answer."""
    workload.set_track(ctx, CANDIDATE, {"version": "2.0", "replicas": 1})
    before = router.split(ctx)
    router.set_mirror(ctx, 50)
    assert poll(lambda: router.split(ctx).stable > before.stable + 100, timeout=30)
    router.set_mirror(ctx, 0)

    assert before.candidate == router.split(ctx).candidate


def test_a_version_that_ends_at_its_start_says_why(workload: Workload, ctx: Context) -> None:
    """At once, with its last words, and not when the time is over."""
    with pytest.raises(StepFailed, match="names a table that is not there"):
        workload.set_track(ctx, CANDIDATE, {"version": "2.4", "replicas": 1})


def test_an_instance_that_dies_is_trouble_and_loses_nothing_more(
    shop: Shop, workload: Workload, router: Router, ctx: Context
) -> None:
    """Its requests go elsewhere, and the gate is told; asking for the same state again mends it."""
    workload.set_track(ctx, CANDIDATE, {"version": "2.0", "replicas": 2})
    pids = router_state(shop)["pids"]
    os.kill(pids[-1], signal.SIGKILL)
    assert poll(lambda: bool(workload.trouble(ctx, CANDIDATE)), timeout=20)
    workload.set_track(ctx, CANDIDATE, {"version": "2.0", "replicas": 2})

    assert "" == workload.trouble(ctx, CANDIDATE)
    assert 0 == lost(shop)


def test_without_a_keeper_it_says_what_to_do(tmp_path: Path, ctx: Context) -> None:
    """No socket, no guess."""
    with pytest.raises(Unreachable, match="does not answer"):
        Workload.of({"kind": "local", "folder": str(tmp_path)}).track(ctx, STABLE)


def router_state(shop: Shop) -> dict[str, list[int]]:
    """What the keeper says, asked by hand."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(shop.folder / "keeper.sock"))
        connection.sendall(b'{"do": "look"}\n')
        found: dict[str, list[int]] = json.loads(connection.makefile().readline())["answer"]
        return found


def test_a_shop_ends_with_whoever_opened_it(tmp_path: Path) -> None:
    """Also when that process is killed and can do nothing any more."""
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom sretoolkit.rollout.local import open_shop\n"
        f"with open_shop(rate=10, folder=Path({str(tmp_path)!r})):\n    print('open', flush=True)\n    time.sleep(600)"
    )
    opener = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert opener.stdout is not None
    assert b"open\n" == opener.stdout.readline()
    keeper = json.loads((tmp_path / "ready.json").read_text())["pid"]
    opener.kill()
    opener.communicate(timeout=10)

    assert poll(lambda: not Path(f"/proc/{keeper}").exists(), timeout=30)
