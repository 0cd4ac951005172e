"""What the router writes for nginx, and what it reads of nginx's own configuration."""

from __future__ import annotations

from typing import Any

import pytest

from sretoolkit.errors import ConfigError, PlanError
from sretoolkit.rollout.routers._nginx_text import directives, uncounted
from sretoolkit.rollout.routers.nginx import Nginx

ROUTER = {"name": "shop", "stable": "old", "candidate": "new", "file": "/etc/nginx/conf.d/share.conf", "port": 9145}
CONFIG = """
http { # access_log off;
  access_log /var/log/all;
  log_format told '{"a": "b; c"}';
  server { location / { proxy_pass http://$shop; } }
  server { access_log /var/log/other; location / { return 200 "}"; } }
}
"""


def router(**more: Any) -> Nginx:
    """With these options besides."""
    return Nginx(**{**ROUTER, **more})


@pytest.mark.parametrize(
    ("percent", "line"),
    [(0, "{ * old; }"), (5, "{ 5% new; * old; }"), (99, "{ 99% new; * old; }"), (100, "{ * new; }")],
)
def test_a_share_is_one_line(percent: int, line: str) -> None:
    """None and all have no percent: nginx takes no 0 %; the file tells the same number to who asks."""
    text = router().text(percent)

    assert f'split_clients "$request_id" $shop {line}' in text.splitlines()
    assert f'"shop": {percent}' in text


def test_a_match_stands_before_the_share() -> None:
    """Whoever has the header is led to the candidate, all others are shared out."""
    lines = router(log="/var/log/share").text(5, {"header": "X-Canary", "value": "yes"}).splitlines()

    assert 'split_clients "$request_id" $shop_share { 5% new; * old; }' in lines
    assert 'map $http_x_canary $shop { "yes" new; default $shop_share; }' in lines


def test_it_counts_only_while_there_is_something_to_count() -> None:
    """Without a share no line is written for a request."""
    counted = {percent: "access_log /var" in router(log="/var/log/share").text(percent) for percent in (0, 5, 100)}

    assert {0: False, 5: True, 100: True} == counted


@pytest.mark.parametrize(
    "match", [{"header": 'X"; evil', "value": "yes"}, {"cookie": "a", "value": "b; c"}, {"value": "x"}]
)
def test_a_match_that_could_not_stand_there_is_refused(match: dict[str, str]) -> None:
    """Nothing of it becomes a line of a configuration."""
    with pytest.raises(PlanError, match="cannot be told of"):
        router().text(5, match)


@pytest.mark.parametrize(
    "wrong", [{"name": "a b"}, {"file": "x; y"}, {"key": "$a;"}, {"candidate": "old"}, {"port": 0}]
)
def test_options_that_cannot_stand_there_are_refused(wrong: dict[str, Any]) -> None:
    """Before anything is asked of a host."""
    with pytest.raises(ConfigError):
        router(**wrong)


def test_directives_are_told_with_their_blocks() -> None:
    """Comments, quotes and braces within quotes mislead nobody."""
    found = [(each.words[0], [name for _, name in each.blocks]) for each in directives(CONFIG)]

    assert [
        ("access_log", ["http"]), ("log_format", ["http"]), ("proxy_pass", ["http", "server", "location"]),
        ("access_log", ["http", "server"]), ("return", ["http", "server", "location"]),
    ] == found  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", False),
        ("location / { proxy_pass", "access_log off; location / { proxy_pass", True),
        ("proxy_pass http://$shop", "access_log /x; proxy_pass http://$shop", True),
        ("access_log /var/log/all", "access_log off", True),
    ],
)
def test_a_log_that_switches_ours_off_is_seen(old: str, new: str, expected: bool) -> None:
    """In the server that passes on, in its location, or off for all; another server's is no matter."""
    assert expected is uncounted(CONFIG.replace(old, new, 1), "$shop")
