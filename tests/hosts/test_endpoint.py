"""Names of hosts, and what their tables may say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, UnknownPlugin
from sretoolkit.hosts import connect
from sretoolkit.hosts.endpoint import Endpoint, resolve


def test_local_names_need_no_configuration() -> None:
    """The names "localhost" and "local" are this machine."""
    assert [resolve(name, Config()).connection for name in ("local", "localhost")] == ["local", "local"]


def test_a_table_may_redefine_localhost() -> None:
    """The configuration wins over the built-in meaning, for example to enter a network namespace."""
    config = Config.of(hosts={"localhost": {"connection": "local", "netns": "blue", "tags": ["edge"]}})
    assert resolve("localhost", config) == Endpoint("localhost", "local", {}, "blue", frozenset({"edge"}))


def test_an_address_is_taken_apart() -> None:
    """ssh://user@host:port gives address, port and user."""
    endpoint = resolve("ssh://me%40corp@[::1]:2222", Config())
    assert (endpoint.connection, endpoint.options) == ("ssh", {"address": "::1", "port": 2222, "user": "me@corp"})


def test_a_table_without_connection_means_ssh() -> None:
    """[hosts.NAME] is reached by ssh unless it says otherwise, under its own name unless it has an address."""
    host = connect("web1", Config.of(hosts={"web1": {"user": "root"}}))
    assert (host.endpoint.connection, host.by_hand(["uptime"])) == ("ssh", "ssh root@web1 uptime")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ssh://root:geheim@web1", "password in the address"),
        ("ssh://web1/path", "is no address"),
        ("ssh://web1:port", "is no address"),
        ("ssh://", "is no address"),
        ("webb", "did you mean 'web'"),
    ],
)
def test_a_name_that_means_nothing_is_refused(name: str, said: str) -> None:
    """A wrong address or name is a ConfigError that never repeats a password."""
    with pytest.raises(ConfigError) as caught:
        connect(name, Config.of(hosts={"web": {"user": "root"}}))
    assert said in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"adress": "x"}, "did you mean 'address'"),
        ({"port": "22"}, "port must be int"),
        ({"port": True}, "port must be int"),
        ({"tags": "web"}, "tags must be a list"),
        ({"connection": "local", "user": "root"}, "has no option 'user'"),
        ({"connection": 5}, "must be text"),
        ({"user": "root", "jump": "web"}, "jump goes in a circle: web -> web"),
        ({"user": "root", "jump": "here"}, "jump must be reached by ssh"),
    ],
)
def test_a_table_that_is_wrong_is_refused(options: dict[str, Any], said: str) -> None:
    """Unknown options, wrong types and circles are found before anything is tried."""
    with pytest.raises(ConfigError) as caught:
        connect("web", Config.of(hosts={"web": options, "here": {"connection": "local"}}))
    assert said in str(caught.value)


def test_a_circle_of_jumps_is_found_wherever_it_closes() -> None:
    """Three hosts that jump over each other are refused with the way they go."""
    hosts = {"a": {"jump": "b"}, "b": {"jump": "c"}, "c": {"jump": "b"}}
    with pytest.raises(ConfigError, match="a -> b -> c -> b"):
        connect("a", Config.of(hosts=hosts))


def test_a_connection_nobody_wrote_is_unknown() -> None:
    """The error lists those there are."""
    with pytest.raises(UnknownPlugin) as caught:
        connect("web", Config.of(hosts={"web": {"connection": "shh"}}))
    assert caught.value.known == ("docker", "kubernetes", "local", "ssh")


def test_passwords_are_references_only() -> None:
    """A password in clear text in a host's table is refused by the configuration itself."""
    with pytest.raises(ConfigError, match="clear text"):
        Config.of(hosts={"web": {"password": "geheim"}})


def test_the_ssh_library_is_loaded_by_ssh_alone(tmp_path: Path) -> None:
    """Importing hosts and using this machine loads neither fabric nor paramiko."""
    code = (
        "import sys\nfrom sretoolkit.config import Config\nfrom sretoolkit.hosts import connect\n"
        "connect('localhost', Config()).run('true', timeout=9)\n"
        "print(sorted({'fabric', 'paramiko', 'pandas', 'kubernetes'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_containers_and_pods_have_addresses() -> None:
    """A container of this machine's Docker, a pod's container by its cluster's context."""
    config = Config()
    assert resolve("docker://web", config).options == {"container": "web"}
    found = resolve("kubernetes://arn:eks%2Fprod/shop/web-0/app", config)
    assert found.options == {"context": "arn:eks/prod", "namespace": "shop", "pod": "web-0", "container": "app"}
    assert resolve("kubernetes://prod/shop/web-0", config).options == {
        "context": "prod",
        "namespace": "shop",
        "pod": "web-0",
    }
    for wrong in (
        "docker://",
        "docker://a/b",
        "kubernetes://prod/shop",
        "kubernetes://a/b//d",
        "kubernetes://a/b/c/d/e",
    ):
        with pytest.raises(ConfigError, match="is no address"):
            resolve(wrong, config)
