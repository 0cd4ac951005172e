"""Configuration: where each value comes from, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sretoolkit.config import SETTINGS, Config, mask
from sretoolkit.errors import ConfigError

Project = Callable[[str], Path]


@pytest.fixture
def project(own_home: Path) -> Project:
    """Write the project file."""

    def write(text: str) -> Path:
        path = own_home / "sretoolkit.toml"
        path.write_text(text)
        return path

    return write


def test_argument_beats_environment_beats_project_beats_user_beats_default(
    own_home: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN "Configuration": argument > environment > project file > user file > default, each with its origin."""
    user = own_home / "config" / "sretoolkit" / "sretoolkit.toml"
    user.parent.mkdir(parents=True)
    user.write_text("[lease]\nttl='1s'\nwait='1s'\n[run]\ntimeout='1s'\ngrace='1s'\n")
    path = project("[lease]\nttl='2s'\nwait='2s'\n[run]\ntimeout='2s'\n")
    monkeypatch.setenv("SRETOOLKIT_LEASE_TTL", "3s")
    monkeypatch.setenv("SRETOOLKIT_LEASE_WAIT", "3s")
    config = Config.load(overrides={"lease.ttl": "4s"})
    expected = {
        "lease.ttl": ("4s", "argument"),
        "lease.wait": ("3s", "environment SRETOOLKIT_LEASE_WAIT"),
        "run.timeout": ("2s", str(path)),
        "run.grace": ("1s", str(user)),
        "run.cell_timeout": ("4h", "default"),
    }
    assert expected == {key: (config[key], config.value(key).origin) for key in expected}


def test_the_nearest_project_file_upwards_counts(own_home: Path, project: Project) -> None:
    """As with every tool: the file is found from a folder below."""
    project("identity = 'outer'")
    below = own_home / "a" / "b"
    below.mkdir(parents=True)
    assert "outer" == Config.load(start=below)["identity"]
    (own_home / "a" / "sretoolkit.toml").write_text("identity = 'inner'")
    assert "inner" == Config.load(start=below)["identity"]


def test_a_named_user_file_must_be_there(own_home: Path) -> None:
    """SRETOOLKIT_CONFIG names the user file; a wrong name is said, not passed over."""
    named = own_home / "mine.toml"
    named.write_text("identity = 'me'")
    assert "me" == Config.load(environ={"SRETOOLKIT_CONFIG": str(named)})["identity"]
    with pytest.raises(ConfigError, match="is no file"):
        Config.load(environ={"SRETOOLKIT_CONFIG": str(own_home / "none.toml")})


def test_a_list_in_the_environment_is_written_as_in_the_file() -> None:
    """A setting that is a list can come from the environment too; what is no list is refused."""
    config = Config.load(environ={"SRETOOLKIT_RUNBOOKS_FOLDERS": '["/a", "/b"]'})
    assert ["/a", "/b"] == config["runbooks.folders"]
    for text in ("/a:/b", '"/a"', "[1]", "[" * 5000):
        with pytest.raises(ConfigError, match=r"SRETOOLKIT_RUNBOOKS_FOLDERS"):
            Config.load(environ={"SRETOOLKIT_RUNBOOKS_FOLDERS": text})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[store", "cannot be read"),
        ("a = " + "[" * 5000, "cannot be read"),
        ("[store]\nurll = 'x'", "there is no setting 'store.urll'"),
        ("nonsense = 1", "there is no setting 'nonsense'"),
        ("identity = 5", "identity must be a str, not a int"),
        ("[runbooks]\nfolders = 'here'", "runbooks.folders must be a list"),
        ("[runbooks]\nfolders = [1]", "runbooks.folders must be a list of str"),
        ("freeze = ['xmas']", "freeze must be a list of dict"),
        ("[notify]\ncommands = [{}]", "notify.commands must be a list of str or list"),
        ("[lease]\nttl = 'soon'", "lease.ttl: 'soon' is not a duration"),
        ("[run]\nmode = 'aply'", "run.mode: 'aply' is no mode"),
        ("hosts = 1", r"\[hosts\] must hold one table a name"),
        ("[hosts]\nweb = 'ssh'", r"\[hosts\] must hold one table a name"),
        ("[hosts.web]\n'a.b' = 1", "an option cannot be called 'a.b'"),
    ],
)
def test_a_wrong_file_is_said_with_its_place(project: Project, text: str, why: str) -> None:
    """What cannot be used raises ConfigError (exit code 2) with the file's name in it."""
    path = project(text)
    with pytest.raises(ConfigError, match=why) as caught:
        Config.load()
    assert (str(path) in caught.value.message, 2) == (True, caught.value.exit_code)


def test_a_file_that_is_no_text_is_said(project: Project) -> None:
    """Bytes that are not UTF-8 are an error of the file."""
    project("").write_bytes(b"identity = '\xff'")
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.load()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_no_file_whatever_crashes_the_reader(own_home: Path, content: bytes) -> None:
    """Any bytes are a configuration or a ConfigError, nothing else."""
    (own_home / "sretoolkit.toml").write_bytes(content)
    with suppress(ConfigError):
        Config.load()


def test_a_typing_error_is_answered_with_the_nearest_name() -> None:
    """Unknown settings and endpoints say what was probably meant."""
    config = Config.of(hosts={"web1": {"connection": "ssh"}})
    with pytest.raises(ConfigError) as caught:
        config["store.ulr"]
    assert "did you mean 'store.url'?" == caught.value.hint
    with pytest.raises(ConfigError, match="no host named 'web2' is configured; there are: web1") as caught:
        config.endpoint("hosts", "web2")
    assert "did you mean 'web1'?" == caught.value.hint


def test_endpoints_are_tables_of_any_name(project: Project) -> None:
    """A name may have dots (a host's full name), and is not mixed up with one that it begins with."""
    project('[hosts.web]\nconnection="ssh"\n[hosts."web.example.com"]\nconnection="local"\ntoken="env:T0KEN"\n')
    config = Config.load()
    assert ["web", "web.example.com"] == config.names("hosts")
    assert {"connection": "ssh"} == config.endpoint("hosts", "web")
    assert {"connection": "local", "token": "env:T0KEN"} == config.endpoint("hosts", "web.example.com")
    assert (["env:T0KEN"], [], []) == tuple(
        config.secret_references("hosts", name) for name in ("web.example.com", "web", "none")
    )


CLEAR = [
    "[sources.p]\ntoken = 'hunter2!'",
    "[sources.p]\napi_key = 'hunter2!'",
    "[hosts.h]\nsudo_password = 'hunter2!'",
    "[sources.p.headers]\nX-Token = 'hunter2!'",
    "[sources.p]\ntokens = ['env:GOOD', 'hunter2!']",
    "[[sources.p.users]]\npassword = 'hunter2!'",
    "[store]\npassword = 'hunter2!'",
    "[store]\npassword = ['hunter2!']",
]


@pytest.mark.parametrize("text", CLEAR)
def test_a_secret_in_clear_text_is_refused_and_not_repeated(project: Project, text: str) -> None:
    """What is named like a secret must be a reference, however deep it stands; the message does not show it."""
    project(text)
    with pytest.raises(ConfigError) as caught:
        Config.load()
    assert "hunter2" not in str(caught.value)


def test_a_secret_in_clear_text_is_refused_in_the_environment_and_as_argument() -> None:
    """The other ways in are no way round."""
    with pytest.raises(ConfigError, match="holds a secret in clear text"):
        Config.load(environ={"SRETOOLKIT_STORE_PASSWORD": "hunter2!"})
    with pytest.raises(ConfigError, match="holds a secret in clear text"):
        Config.load(overrides={"store.password": "hunter2!"})
    with pytest.raises(ConfigError, match="holds a secret in clear text"):
        Config.of(sources={"p": {"token": "hunter2!"}})


def test_references_are_found_however_deep(project: Project) -> None:
    """A run is granted every secret of an endpoint that it names."""
    project("[sources.p]\ntoken='env:AAAA'\nurl='x'\n[sources.p.headers]\nX-Api-Key='file:/run/k'\n")
    assert ["env:AAAA", "file:/run/k"] == sorted(Config.load().secret_references("sources", "p"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://sre:hunter2@db/x", "postgresql://sre:***@db/x"),
        ("postgresql://sre:hun@ter2@db/x", "postgresql://sre:***@db/x"),
        ("postgresql://sre:hun/ter2@db/x", "postgresql://sre:***@db/x"),
        ("postgresql://:hunter2@db", "postgresql://:***@db"),
        ("postgresql://db/x?user=a&password=hunter2&b=c", "postgresql://db/x?user=a&password=***&b=c"),
        ("https://host:8443/path?who=a@b", "https://host:8443/path?who=a@b"),
        ("https://host/path", "https://host/path"),
        ("sqlite:////var/lib/x.db", "sqlite:////var/lib/x.db"),
        (["https://u:hunter2@h"], ["https://u:***@h"]),
        ({"proxy": "https://u:hunter2@h"}, {"proxy": "https://u:***@h"}),
        (5, 5),
    ],
)
def test_a_password_in_a_url_is_masked(text: Any, shown: Any) -> None:
    """No listing shows the password of a URL, wherever in the value it stands."""
    assert shown == mask(text)


def test_a_listed_value_has_its_origin_and_no_password() -> None:
    """`sretoolkit config` prints each value with its origin."""
    config = Config.of(store={"url": "postgresql://sre:hunter2@db/x"})
    assert "store.url = 'postgresql://sre:***@db/x'  # argument" == str(config.value("store.url"))


def test_every_value_can_be_told_to_a_kernel(project: Project) -> None:
    """TOML knows dates; they become ISO text, because a kernel is told the configuration as JSON."""
    project("freeze = [{from = 2026-12-24, to = 2026-12-26T06:00:00Z, reason = 'xmas'}]\n")
    config = Config.load()
    json.dumps([[value.key, value.value] for value in config])
    assert [{"from": "2026-12-24", "to": "2026-12-26T06:00:00+00:00", "reason": "xmas"}] == config["freeze"]


def test_the_whole_configuration_is_listed_once() -> None:
    """Iterating gives every setting and endpoint option, sorted, with defaults where nothing was said."""
    keys = [value.key for value in Config.of(hosts={"web": {"address": "x"}})]
    assert sorted([*SETTINGS, "hosts.web.address"]) == keys


def test_defaults_fit_their_own_settings() -> None:
    """Each default passes the check that a given value has to pass."""
    for value in Config():
        Config.load(overrides={value.key: value.value})


def test_a_working_folder_that_was_deleted_is_no_crash(own_home: Path) -> None:
    """In a folder that is gone there is no project file, and everything else works."""
    gone = own_home / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    config = Config.load()
    assert ("default", True) == (config.value("lease.ttl").origin, isinstance(config["runbooks.folders"], list))


def test_the_secrets_of_a_host_are_also_those_of_its_jump_hosts() -> None:
    """DESIGN "Secrets": what a host needs to be reached is granted with it, through every jump, and a circle ends."""
    config = Config.of(
        hosts={
            "inner": {"address": "a", "password": "env:INNER", "jump": "outer"},
            "outer": {"address": "b", "password": "env:OUTER", "jump": "inner"},
        }
    )

    assert ["env:INNER", "env:OUTER"] == config.secret_references("hosts", "inner")
