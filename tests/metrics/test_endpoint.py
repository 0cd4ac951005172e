"""Endpoints: where a source is, from the configuration or from a URL."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, UnknownPlugin
from sretoolkit.http import Remote
from sretoolkit.metrics import Endpoint, connect
from sretoolkit.secrets import Secret


def configured(**options: Any) -> Config:
    """A configuration with one source, ``prod``."""
    return Config.of(sources={"prod": {"kind": "prometheus", "url": "https://prom.example/", **options}})


def test_every_option_is_read() -> None:
    """A configured source carries its address, login, trust, timeout and its kind's own options."""
    config = configured(
        token="env:T", most_samples=1000, verify=False, ca="/ca.pem", timeout="5s", tenant="shop", database="shop"
    )
    expected = Endpoint(
        name="prod",
        kind="prometheus",
        remote=Remote(
            url="https://prom.example",
            token=Secret("env:T"),
            verify=False,
            ca="/ca.pem",
            timeout=timedelta(seconds=5),
            headers={"X-Scope-OrgID": "shop"},
        ),
        most_samples=1000,
        options={"database": "shop"},
    )
    assert expected == Endpoint.from_config("prod", config)


def test_a_url_is_enough() -> None:
    """Without any configuration a URL with the kind in front names a source."""
    endpoint = Endpoint.from_url("prometheus+http://127.0.0.1:9090/prom/")
    assert ("prometheus", "http://127.0.0.1:9090/prom") == (endpoint.kind, endpoint.url)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": ""}, "has no url"),
        ({"kind": ""}, "has no kind"),
        ({"url": "prom.example"}, "no usable URL"),
        ({"url": "ftp://prom.example"}, "no usable URL"),
        ({"verify": "no"}, "verify must be a bool, not str"),
        ({"timeout": 5}, "timeout must be a str, not int"),
        ({"most_samples": True}, "most_samples must be a int, not bool"),
        ({"key": "/key.pem"}, "client key without its certificate"),
        ({"proxy": "http://me:hunter2@proxy.example"}, "proxy of proxy.example holds a user name or a password"),
        ({"timeout": "soon"}, "'soon' is not a duration"),
        ({"username": "me"}, "half a login"),
        ({"password": "env:P"}, "half a login"),
        ({"username": "me", "password": "env:P", "token": "env:T"}, "half a login, or two"),
        ({"url": "https://me:hunter2@prom.example"}, "holds a user name or a password"),
    ],
)
def test_a_bad_option_is_refused(options: dict[str, Any], says: str) -> None:
    """What is missing, of a wrong type or contradictory is a configuration error, before anything is sent."""
    with pytest.raises(ConfigError, match=says):
        connect("prod", configured(**options))


@pytest.mark.parametrize("text", ["http://me:hunter2@prom.example", "prometheus+http://me:hunter2@prom.example"])
def test_a_password_in_a_url_is_never_repeated(text: str) -> None:
    """A clear-text password is refused, and the refusal does not print it."""
    with pytest.raises(ConfigError) as caught:
        connect(text)
    assert "hunter2" not in str(caught.value)


def test_a_missing_kind_is_suggested() -> None:
    """A plain URL is refused with the form that works."""
    with pytest.raises(ConfigError, match=r"prometheus\+http://127.0.0.1:9090"):
        connect("http://127.0.0.1:9090")


def test_an_unknown_kind_or_name_is_refused_with_the_nearest() -> None:
    """A typing error in a kind or in a configured name is answered with what was probably meant."""
    with pytest.raises(UnknownPlugin, match="did you mean 'prometheus'"):
        connect("promtheus+http://127.0.0.1:9090")
    with pytest.raises(ConfigError, match="did you mean 'prod'"):
        connect("prodd", configured())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"url": "http://prom.example", "token": "env:T"}, True),
        ({"url": "http://127.0.0.1:9090", "token": "env:T"}, False),
        ({"url": "http://prom.example"}, False),
        ({"token": "env:T"}, False),
    ],
)
def test_a_login_over_plain_http_is_noticed(options: dict[str, Any], expected: bool) -> None:
    """Only credentials that would cross a network unencrypted are marked."""
    assert expected is Endpoint.from_config("prod", configured(**options)).remote.in_clear
