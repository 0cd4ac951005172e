"""What somebody tries who means harm: each attempt over real HTTP, and what it comes to."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from sretoolkit.actor import Actor
from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.journal import Journal, Keys, close_run, load_run, open_run
from sretoolkit.store import Store
from tests.server.provider import OpenIdProvider
from tests.server.serving import Served, Visitor

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>\u202egnp'


def test_a_form_from_elsewhere_starts_nothing(served: Served) -> None:
    """Without the session's word, with another session's, or from another site's page, every form is refused."""
    ann, other = served.local(), Visitor(served.url)
    assert 303 == other.post("/login/local", {"token": _again(served)}).status
    for visitor in (ann, other):
        visitor.get("/runbooks/adding")
    form = {"mode": "plan", "p.left": "1", "hash": "x"}
    tries = [
        ann.post("/runbooks/adding", {**form, "csrf": ""}).status,
        ann.post("/runbooks/adding", {**form, "csrf": other.csrf}).status,
        ann.post("/runbooks/adding", form, Origin="https://evil.example").status,
        ann.post("/runbooks/adding", form, Origin="null").status,
        ann.post("/runbooks/adding", form, **{"Sec-Fetch-Site": "cross-site"}).status,
        ann.post("/runbooks/adding", form, **{"Sec-Fetch-Site": "same-site"}).status,
        ann.post("/runbooks/adding", form, **{"Content-Type": "text/plain"}).status,
        ann.post("/logout", {"csrf": ""}).status,
        ann.post("/login/local", {"token": "x"}, Origin="https://evil.example").status,
    ]
    assert [403] * len(tries) == tries
    assert 200 == ann.get("/").status


def test_nothing_that_is_stored_becomes_markup(served: Served, write_notebook: Callable[..., Path]) -> None:
    """Parameters, tickets, log lines, errors, host and process names: shown as text, with what is invisible made visible."""
    source = f"print({EVIL!r})\nraise ValueError({EVIL!r})"
    write_notebook(
        ("note: str", ["parameters"]), source, name="hostile", title=EVIL, purpose=EVIL, risk=EVIL, owner=EVIL
    )
    ann = served.local()
    hashed = ann.hash_of("hostile")
    pages = [ann.page]
    form = {"hash": hashed, "mode": "plan", "p.note": EVIL, "ticket": EVIL}
    run = ann.post("/runbooks/hostile", form).headers["location"].rpartition("/")[2]
    assert "failed" == served.ended(run).state
    _strange_run(served.config)
    for path in (
        f"/runs/{run}",
        "/",
        "/runbooks",
        f"/?actor={quote(EVIL)}",
        f"/?state={quote(EVIL)}",
        "/runs/20260101-000000-eeeeee",
    ):
        assert 200 == ann.get(path).status
        pages.append(ann.page)
    for page in pages:
        assert [] == [word for word in ("<script>alert", "<img src=x", "\u202e") if word in page]
        assert ['src="/static/live.js"'] == re.findall(r"<script ([^ >]+)", page)
        assert [] == re.findall(r"\son\w+=|\sstyle=|javascript:", re.sub(r"&#34;|&#39;|&lt;.*?&gt;", "", page))
    assert "script-src 'self'" in ann.get("/").headers["content-security-policy"]


def _strange_run(config: Config) -> None:
    """A run whose every text was chosen by somebody else."""
    with Store(config["store.url"]) as store:
        journal = open_run(
            store, Keys.of(config), runbook=EVIL, actor=Actor(EVIL, EVIL), mode="plan", ticket=EVIL, origin=EVIL,
            parameters={EVIL: EVIL}, run="20260101-000000-eeeeee", path=EVIL,
        )  # fmt: skip
        journal.append(
            "control", {"id": 1, "verb": EVIL, "subject": EVIL, "actor": EVIL, "reason": EVIL, "refused": EVIL}
        )
        journal.append(EVIL, {"x": EVIL}, target=EVIL)
        close_run(journal, Keys.of(config), state="failed", exit_code=1, error=EVIL, payload={"undone": [EVIL]})
        store.write("UPDATE runs SET process = :p WHERE id = :id", id=journal.run,
                    p=json.dumps({"host": EVIL, "boot": EVIL, "pid": 1, "started": EVIL}))  # fmt: skip


def test_a_record_has_no_rights_and_no_other_file_is_given_for_one(served: Served, own_home: Path) -> None:
    """The record comes with a policy that lets it do nothing; a path that was edited, linked or changed is refused."""
    ann = served.local()
    run = ann.start("adding", left="1")
    served.ended(run)
    answer = ann.get(f"/runs/{run}/record")
    assert (200, True, "SAMEORIGIN") == (
        answer.status, answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'"),
        answer.headers["x-frame-options"],
    )  # fmt: skip
    record = Path(str(load_run(Store(served.config["store.url"]), run).html))
    secret = own_home / "secret.html"
    secret.write_text("the secret")

    with Store(served.config["store.url"]) as store:
        journal = Journal(store, run, actor=Actor("eve"))
        journal.append("record", {"folder": str(own_home), "files": {secret.name: "0" * 64}})
        assert 409 == ann.get(f"/runs/{run}/record").status
        journal.append("record", {"folder": str(record.parent), "files": {"../secret.html": "0" * 64}})
        assert 409 == ann.get(f"/runs/{run}/record").status
        journal.append("record", {"folder": str(record.parent), "files": {record.name: "0" * 64}})
        assert 409 == ann.get(f"/runs/{run}/record").status
    record.unlink()
    record.symlink_to(secret)
    assert 409 == ann.get(f"/runs/{run}/record").status
    assert "the secret" not in ann.page


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd", "/runs/..%2f..%2fetc",
        "/runs/%00", "/runbooks/..%2f..%2fetc%2fpasswd", "/runbooks/%2e%2e", "/runs/last", "/runs/%25", "/runs/a/record",
    ],
)  # fmt: skip
def test_a_path_leads_nowhere_but_to_what_is_named(served: Served, path: str) -> None:
    """Dots, slashes and NUL in an address find nothing."""
    assert 404 == served.local().send("GET", path).status


def test_an_id_that_somebody_put_there_is_worth_nothing(served: Served) -> None:
    """At login the browser gets a new id; the old one, a chosen one and one that logged out are dead."""
    eve = Visitor(served.url)
    eve.cookies["sretoolkit"] = "chosen-by-eve"
    assert 303 == eve.post("/login/local", {"token": served.login.partition("=")[2]}).status
    mine = eve.cookies["sretoolkit"]
    assert "chosen-by-eve" != mine
    first = dict(eve.cookies)
    eve.get("/")
    assert 303 == eve.post("/logout", {}).status
    for cookies in ({"sretoolkit": "chosen-by-eve"}, first):
        again = Visitor(served.url)
        again.cookies = cookies
        assert 303 == again.get("/").status


def test_a_session_ends_by_itself(served: Served) -> None:
    """After two idle hours, and after twelve in any case."""
    for column in ("seen", "created"):
        with Store(served.config["store.url"]) as store:
            store.write("DELETE FROM sessions")
        login = _again(served)
        ann = Visitor(served.url)
        assert 303 == ann.post("/login/local", {"token": login}).status
        assert 200 == ann.get("/").status
        with Store(served.config["store.url"]) as store:
            store.write(f"UPDATE sessions SET {column} = {column} - 86400")
        assert 303 == ann.get("/").status


def _again(served: Served) -> str:
    """Another login's token, from the command line."""
    command = [sys.executable, "-m", "sretoolkit", "serve", "--login", "--port", str(served.port)]
    url = {"SRETOOLKIT_STORE_URL": served.config["store.url"]}
    told = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **url}, timeout=60)
    return told.stdout.strip().partition("token=")[2]


def test_a_login_address_is_good_once(served: Served) -> None:
    """Looking at it uses nothing up; the button does, and only once."""
    token = served.login.partition("=")[2]
    first, second = Visitor(served.url), Visitor(served.url)
    assert [200, 200] == [first.get(served.login).status for _ in range(2)]
    assert [303, 403] == [visitor.post("/login/local", {"token": token}).status for visitor in (first, second)]
    with Store(served.config["store.url"]) as store:
        kept = json.dumps([list(row.values()) for row in store.read("SELECT * FROM sessions")])
    assert (False, False) == (first.cookies["sretoolkit"] in kept, token in kept)


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "/\\evil.example", "\\/evil.example", "https://evil.example", "javascript:alert(1)",
     "/\r\nSet-Cookie: a=b", "/\t/evil.example", " //evil.example", "///evil.example", "/%0d%0aSet-Cookie:a=b/../..//x\n"],
)  # fmt: skip
def test_a_login_leads_to_no_other_place(served: Served, target: str) -> None:
    """Whatever stands in ``next``, the browser stays here, and no header is added."""
    ann = Visitor(served.url)
    ann.get(f"/login?next={quote(target)}&token=x")
    answer = ann.post("/login/local", {"token": _again(served), "next": target})
    where = answer.headers["location"]
    assert (303, True, False) == (
        answer.status,
        where.startswith("/") and not where.startswith(("//", "/\\")),
        "\n" in where,
    )
    assert ["sretoolkit"] == [cookie.partition("=")[0] for cookie in answer.headers.getlist("set-cookie")]


def test_a_provider_visit_leads_to_no_other_place(team: Served, provider: OpenIdProvider) -> None:
    """The same after a login with the provider."""
    provider.somebody = {"email": "ann@example.com", "email_verified": True}
    ann = Visitor(team.url)
    answer = ann.get("/login/provider?next=//evil.example")
    for _ in range(2):
        answer = ann.get(answer.headers["location"])
    assert (303, "/") == (answer.status, answer.headers["location"])


def test_cookies_and_headers_are_as_strict_as_they_can_be(served: Served) -> None:
    """HttpOnly, SameSite, no store, no framing, no sniffing; and behind TLS also Secure, bound to the host."""
    ann = Visitor(served.url)
    cookie = ann.post("/login/local", {"token": served.login.partition("=")[2]}).headers["set-cookie"].lower()
    assert [] == [word for word in ("httponly", "samesite=lax", "path=/") if word not in cookie]
    headers = ann.get("/").headers
    assert ("no-store", "nosniff", "DENY") == (
        headers["cache-control"], headers["x-content-type-options"], headers["x-frame-options"],
    )  # fmt: skip


def test_behind_tls_the_cookie_is_bound_to_it(own_home: Path, config: Config, notebooks: None) -> None:
    """With an https address of its own: Secure and the prefix that browsers enforce, and other names are not answered."""
    with Served(own_home, config, SRETOOLKIT_SERVE_URL="https://sre.example.com") as served:
        ann = Visitor(served.url)
        form = {"token": served.log.partition("login?token=")[2].split()[0]}
        answer = ann.post("/login/local", form, Host="sre.example.com", Origin="https://sre.example.com")
        cookie = answer.headers["set-cookie"]
        assert (True, True) == (cookie.startswith("__Host-sretoolkit="), "Secure" in cookie)
        assert "max-age" in answer.headers["strict-transport-security"]
        assert [421, 421] == [
            ann.get("/", Host=name).status for name in ("evil.example", "sre.example.com.evil.example")
        ]
        assert 0 == served.stop()


def test_too_much_is_not_taken_in(served: Served) -> None:
    """A large body is refused by what it says it is, and by what it is; a large head too; the server goes on."""
    ann = served.local()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert 413 == ann.send("POST", "/runbooks/adding", body=b"x" * (2 << 20), headers=headers).status
    assert 413 == ann.send("POST", "/runbooks/adding", body=iter([b"x" * 65536] * 40), headers=headers).status
    assert 413 == Visitor(served.url).send("POST", "/hooks/deploy", body=b"x" * (2 << 20)).status
    with socket.create_connection(("127.0.0.1", served.port), 10) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * (1 << 20))
        raw.settimeout(10)
        try:
            said = raw.recv(100)
        except ConnectionResetError:
            said = b""
    assert b"200" not in said.partition(b"\r\n")[0]
    assert 200 == ann.get("/").status


def test_slow_clients_are_cut_off_and_hold_nobody_up(served: Served) -> None:
    """A hundred that send their heads, or bodies, drop by drop: others are answered meanwhile, and they are let go."""
    ann = served.local()
    heads = [socket.create_connection(("127.0.0.1", served.port), 10) for _ in range(80)]
    bodies = [socket.create_connection(("127.0.0.1", served.port), 10) for _ in range(20)]
    for one in heads:
        one.sendall(b"GET / HTTP/1.1\r\nHost: loc")
    for one in bodies:
        one.sendall(b"POST /hooks/deploy HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx")
    began = time.monotonic()
    assert [200] * 5 == [ann.get("/").status for _ in range(5)]
    assert time.monotonic() - began < 10
    for one in heads + bodies:
        one.settimeout(40)
    ends = [_until_end(one) for one in heads + bodies]
    assert [] == [end[:40] for end in ends if b" 200 " in end[:40]]
    assert 20 == sum(b" 408 " in end[:40] for end in ends)


def _until_end(one: socket.socket) -> bytes:
    said = b""
    try:
        while piece := one.recv(4096):
            said += piece
            if b"in time" in said:
                break
    except ConnectionResetError:
        pass
    one.close()
    return said


def test_guessing_is_slow(served: Served) -> None:
    """After ten tries in a row a login has to wait, whatever address the request says it comes from."""
    eve = Visitor(served.url)
    statuses = [
        eve.post("/login/local", {"token": f"guess-{n}"}, **{"X-Forwarded-For": f"10.0.0.{n}"}).status
        for n in range(12)
    ]
    assert ([403] * 10, 429, 429) == (statuses[:10], *statuses[10:])


def test_another_name_for_this_server_is_not_answered(served: Served) -> None:
    """A page of another site whose name leads here (DNS rebinding) is told nothing."""
    ann = served.local()
    assert [421] * 3 == [ann.get("/", Host=name).status for name in ("evil.example", "localhost.evil.example", "")]
    assert 200 == ann.get("/", Host=f"localhost:{served.port}").status


def test_live_streams_end_with_their_login_and_are_not_without_end(served: Served) -> None:
    """Who is nobody gets none; one login has so many at once and no more; the server ends although some are open."""
    assert 401 == Visitor(served.url).send("GET", "/live/runs").status
    ann = served.local()
    cookie = f"Cookie: sretoolkit={ann.cookies['sretoolkit']}\r\n".encode()
    streams = []
    for _ in range(14):
        one = socket.create_connection(("127.0.0.1", served.port), 10)
        one.sendall(b"GET /live/runs HTTP/1.1\r\nHost: localhost\r\n" + cookie + b"\r\n")
        streams.append(one)
        assert poll(lambda one=one: one.recv(15, socket.MSG_PEEK), timeout=10)  # type: ignore[misc]
    firsts = [one.recv(15)[9:12] for one in streams]
    assert ([b"200"] * 12, [b"503"] * 2) == (firsts[:12], firsts[12:])
    assert 0 == served.stop()
    for one in streams:
        one.close()


def test_our_own_description_is_kept(own_home: Path, config: Config, notebooks: None) -> None:
    """Schemathesis sends what fits the OpenAPI document and what does not, follows its links, and finds no answer unforeseen."""
    with Served(own_home, config, SRETOOLKIT_SERVE_MOST_REQUESTS="100000") as served:
        served.ended(served.local().start("adding", left="1"))
        program = Path(sys.executable).with_name("schemathesis")
        command = [
            str(program), "run", f"{served.url}/api/openapi.json", "-H", f"Authorization: Bearer {served.token}",
            "--max-examples", "12", "--phases", "examples,coverage,fuzzing,stateful", "--seed", "7", "--workers", "1",
            "--no-color",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, cwd=own_home, timeout=110, check=False)
        assert 0 == done.returncode, done.stdout[-6000:]
        assert 0 == served.stop()
