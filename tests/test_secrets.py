"""Secrets: read by reference at the last moment, never shown, masked in everything that is kept."""

from __future__ import annotations

import base64
import html
import json
import pickle
import shlex
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sretoolkit import secrets
from sretoolkit.errors import SecretError
from sretoolkit.secrets import MASK, Redaction, Secret, redaction

VALUES = st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=40).filter(
    lambda text: len(text.strip()) >= 4 and not set(text) <= set(MASK)
)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test reveals is forgotten after it."""
    monkeypatch.setattr(redaction, "_forms", frozenset())
    monkeypatch.setattr(secrets, "_granted", None)


def test_a_secret_shows_its_reference_and_never_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """repr, str, format, pickle and equality know the reference alone, also after the value was read."""
    monkeypatch.setenv("CANARY", "hunter2-canary")
    secret = Secret("env:CANARY")
    assert "hunter2-canary" == secret.reveal()
    for text in (
        repr(secret),
        str(secret),
        f"{secret}",
        str([secret]),
        pickle.dumps(secret).decode("latin-1"),
        str(vars(secret)),
    ):
        assert ("hunter2" in text, "env:CANARY" in text) == (False, True)
    assert Secret("env:CANARY") == secret


@pytest.mark.parametrize("text", ["hunter2-hunter2", "", "env:", ":x", "http://x", "ENV:X", "hunter2:x", None, 5])
def test_what_is_no_reference_is_refused_unseen(text: str) -> None:
    """It may be the value itself, so not even the beginning of it is repeated."""
    with pytest.raises(SecretError) as caught:
        Secret(text)
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize("value", ["", "abc", "   x  ", "\t\n \t\n \t"])
def test_a_secret_too_short_to_be_redacted_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A value of less than four characters would mask half of every record."""
    monkeypatch.setenv("CANARY", value)
    with pytest.raises(SecretError, match="shorter than 4"):
        Secret("env:CANARY").reveal()


def test_a_missing_variable_says_what_to_do() -> None:
    """The name is in the message, and what to do next in the hint."""
    with pytest.raises(SecretError, match="NOT_THERE_AT_ALL is not set") as caught:
        Secret("env:NOT_THERE_AT_ALL").reveal()
    assert "export NOT_THERE_AT_ALL" in caught.value.hint


def test_a_variable_that_is_no_text_is_redacted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are not UTF-8 come as half characters, and are known in their encoded forms."""
    monkeypatch.setenv("CANARY", "p\udcffssword")
    assert "p\udcffssword" == Secret("env:CANARY").reveal()
    assert MASK == redaction(base64.b64encode(b"p\xffssword").decode().rstrip("="))[: len(MASK)]


def test_a_file_loses_only_its_line_end(tmp_path: Path) -> None:
    """The line end that an editor adds is no part of the value; blanks and inner lines are."""
    path = tmp_path / "secret"
    path.write_bytes(b"  first\r\nsecond \r\n")
    assert "  first\r\nsecond " == Secret(f"file:{path}").reveal()


@pytest.mark.parametrize("where", ["/no/such/file", "/", "~nobody-of-that-name/x"])
def test_a_file_that_cannot_be_read_is_said(where: str) -> None:
    """Path and reason are in the message."""
    with pytest.raises(SecretError, match="cannot be read"):
        Secret(f"file:{where}").reveal()


class FakeKeyring(keyring.backend.KeyringBackend):
    """A keyring with one entry, which may be locked."""

    priority = 1
    locked = False

    def get_password(self, service: str, username: str) -> str | None:
        """The entry's password."""
        if self.locked:
            raise keyring.errors.KeyringLocked("the keyring is locked")
        return "ring-of-power" if (service, username) == ("grafana", "sre/admin") else None

    def set_password(self, service: str, username: str, password: str) -> None:
        """Not used."""
        raise NotImplementedError

    def delete_password(self, service: str, username: str) -> None:
        """Not used."""
        raise NotImplementedError


@pytest.fixture
def ring() -> Iterator[FakeKeyring]:
    """The fake keyring in place of the machine's."""
    before, fake = keyring.get_keyring(), FakeKeyring()  # type: ignore[no-untyped-call]
    keyring.set_keyring(fake)
    yield fake
    keyring.set_keyring(before)


def test_a_keyring_entry_is_read_by_service_and_user(ring: FakeKeyring) -> None:
    """What follows the first slash is the user."""
    assert "ring-of-power" == Secret("keyring:grafana/sre/admin").reveal()


def test_a_keyring_without_the_entry_or_locked_is_said(ring: FakeKeyring) -> None:
    """Neither is a traceback of somebody else's library."""
    with pytest.raises(SecretError, match="has no entry grafana/nobody"):
        Secret("keyring:grafana/nobody").reveal()
    ring.locked = True
    with pytest.raises(SecretError, match="did not give grafana/sre/admin: the keyring is locked"):
        Secret("keyring:grafana/sre/admin").reveal()


ENTRY = {"password": "vault-of-glass", "port": 54321, "nothing": None}


class Vault(BaseHTTPRequestHandler):
    """Answers as a Vault with one KV version 2 entry, and refuses whatever is not exactly right."""

    def do_GET(self) -> None:
        """Read one entry."""
        if self.headers["X-Vault-Token"] != "s.token" or self.headers.get("X-Vault-Request") != "true":
            return self._answer(403, {"errors": ["permission denied"]})
        if self.path != "/v1/kv/data/shop/db":
            return self._answer(404, {"errors": []})
        metadata = {"created_time": "2026-01-01T00:00:00Z", "deletion_time": "", "destroyed": False, "version": 3}
        reply = {
            "request_id": "1",
            "lease_id": "",
            "renewable": False,
            "lease_duration": 0,
            "wrap_info": None,
            "auth": None,
        }
        return self._answer(200, {**reply, "warnings": None, "data": {"data": ENTRY, "metadata": metadata}})

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Vault on loopback, and the environment that leads there."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Vault)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("VAULT_TOKEN", "s.token")
    yield
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_vault_entry_is_read_by_mount_path_and_key(vault: None) -> None:
    """Address and token come as the vault command takes them; a number is its text."""
    assert ("vault-of-glass", "54321") == (
        Secret("vault:kv/shop/db#password").reveal(),
        Secret("vault:kv/shop/db#port").reveal(),
    )


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("kv/shop/db#user", "has no key 'user'"),
        ("kv/shop/db", "has no key ''"),
        ("kv/shop/db#nothing", "has nothing under 'nothing'"),
        ("kv/shop/other#password", "did not give kv/shop/other#password"),
        ("kv#password", "did not give kv#password"),
    ],
)
def test_a_vault_that_has_it_not_is_said(vault: None, where: str, why: str) -> None:
    """The message names the reference; "None" is never taken for a password."""
    with pytest.raises(SecretError, match=why):
        Secret(f"vault:{where}").reveal()


def test_a_vault_that_refuses_or_is_away_is_said_without_the_token(
    vault: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither error shows the token that was tried."""
    monkeypatch.setenv("VAULT_TOKEN", "s.wrong-token")
    with pytest.raises(SecretError, match="permission denied") as caught:
        Secret("vault:kv/shop/db#password").reveal()
    assert "s.wrong-token" not in str(caught.value)
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    with pytest.raises(SecretError, match="did not give"):
        Secret("vault:kv/shop/db#password").reveal()


def _written(value: str) -> dict[str, str]:
    raw = value.encode()
    return {
        "raw": value,
        "hex": raw.hex(),
        "HEX": raw.hex().upper(),
        "url": urllib.parse.quote(value, safe=""),
        "path": urllib.parse.quote(value),
        "form": urllib.parse.quote_plus(value),
        "lower url": "".join(
            f"%{byte:02x}" if (not chr(byte).isalnum() and chr(byte) not in "_.-~") or byte > 127 else chr(byte)
            for byte in raw
        ),
        "javascript": urllib.parse.quote(value, safe="!'()*"),
        "json": json.dumps(value)[1:-1],
        "json, not ASCII": json.dumps(value, ensure_ascii=False)[1:-1],
        "python": repr(value)[1:-1],
        "html": html.escape(value, quote=False),
        "html attribute": html.escape(value),
        "shell": shlex.quote(value),
    }


@given(VALUES, st.text(max_size=5), st.text(max_size=5))
def test_a_known_value_is_masked_in_every_form(value: str, before: str, after: str) -> None:
    """DESIGN "Secrets": raw, hexadecimal, URL-encoded, escaped for JSON, Python, HTML or a shell, inside any text."""
    known = Redaction()
    known.add(value)
    for name, form in _written(value).items():
        shown = known(f"{before}{form}{after}")
        assert MASK in shown, name
        assert form not in shown or form in MASK, name


@given(VALUES, st.binary(max_size=7), st.binary(max_size=7), st.booleans())
def test_a_known_value_is_masked_in_base64_at_every_offset(value: str, before: bytes, after: bytes, url: bool) -> None:
    """DESIGN "Secrets": wherever in the encoded bytes it begins, every character that the value alone decides is gone."""
    known = Redaction()
    known.add(value)
    raw = value.encode()
    text = (base64.urlsafe_b64encode if url else base64.b64encode)(before + raw + after).decode()
    own = text[-(-len(before) * 8 // 6) : (len(before) + len(raw)) * 8 // 6]
    assume(own not in MASK)
    shown = known(text)
    assert (True, False) == (MASK in shown, own in shown)


@given(VALUES)
def test_redacting_twice_changes_nothing_more_of_a_clean_text(value: str) -> None:
    """A text without the value comes back as it is."""
    known = Redaction()
    known.add(value)
    clean = "nothing to see here: 12345, true, [], {}"
    assume(not any(form in clean for form in known._forms))
    assert clean == known(clean)


def test_nested_data_is_masked_everywhere() -> None:
    """Keys, values, lists in mappings and a number that is the secret itself are masked; other numbers stay."""
    known = Redaction()
    known.add("98765432")
    data = {"a 98765432": [1, ("x98765432", {"deep": 98765432})], "n": 98765433, "none": None, "yes": True}
    expected = {f"a {MASK}": [1, [f"x{MASK}", {"deep": MASK}]], "n": 98765433, "none": None, "yes": True}
    assert expected == known.data(data)


def test_each_long_line_of_a_value_is_masked() -> None:
    """A record keeps the lines of a text apart, and a private key must not be shown line by line."""
    known = Redaction()
    known.add("-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nend\n-----END KEY-----")
    assert ["x " + MASK, "end"] == known.data(["x MIIEvQIBADANBgkq", "end"])


def test_the_longest_form_is_masked_first() -> None:
    """A secret that contains another one leaves nothing of itself behind."""
    known = Redaction()
    known.add("correct")
    known.add("correct horse battery")
    assert f"<{MASK}>" == known("<correct horse battery>")


def test_a_granted_process_has_these_secrets_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """DESIGN "Secrets": a kernel gets what its parameters name, whatever its environment has; and redacts it."""
    monkeypatch.setenv("OTHER", "other-value")
    secrets.grant({"env:CANARY": "granted-canary"})
    assert "granted-canary" == Secret("env:CANARY").reveal()
    assert MASK == redaction("granted-canary")
    with pytest.raises(SecretError, match="was not given the secret env:OTHER"):
        Secret("env:OTHER").reveal()


def test_a_grant_that_could_not_be_redacted_is_refused() -> None:
    """The kernel refuses what its supervisor should have refused, and grants nothing."""
    with pytest.raises(SecretError, match="shorter than 4"):
        secrets.grant({"env:CANARY": "abc"})
    assert secrets._granted is None


def test_values_are_added_from_many_threads() -> None:
    """No value is lost when many are revealed at once."""
    known = Redaction()
    threads = [threading.Thread(target=known.add, args=(f"value-number-{number:02}",)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [MASK] * 40 == [known(f"value-number-{number:02}") for number in range(40)]
