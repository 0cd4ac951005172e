"""A small OpenID provider on loopback: whoever is `somebody` is logged in at once; ``spoil`` makes it lie in one way."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "sretoolkit", "a-client-secret-of-tests"


class OpenIdProvider:
    """The provider; `close` ends it."""

    def __init__(self) -> None:
        self.somebody: dict[str, Any] = {}
        self.spoil = ""
        self.visits: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}
        self._key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def settings(self) -> dict[str, str]:
        """What the server's configuration says of it."""
        return {"issuer": self.url, "client_id": CLIENT, "client_secret": "env:TEST_OIDC_SECRET"}

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                provider._get(self, parts.path, dict(parse_qsl(parts.query)))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                provider._token(self, dict(parse_qsl(body)))

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        return Handler

    def _get(self, handler: BaseHTTPRequestHandler, path: str, query: dict[str, str]) -> None:
        if path == "/.well-known/openid-configuration":
            names = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
            _answer(handler, {"issuer": self.url, **{name: self.url + end for name, end in names.items()}})
        elif path == "/keys":
            _answer(handler, {"keys": [self._key.as_dict(private=False)]})
        elif path == "/authorize":
            self.visits.append(query)
            code = secrets.token_urlsafe(16)
            self._codes[code] = {**query, "person": json.dumps(self.somebody)}
            target = f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"
            handler.send_response(302)
            handler.send_header("Location", target)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        else:
            _answer(handler, {"error": "not found"}, 404)

    def _token(self, handler: BaseHTTPRequestHandler, form: Mapping[str, str]) -> None:
        kept = self._codes.pop(form.get("code", ""), None)
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
            .decode()
            .rstrip("=")
        )
        good = kept is not None and (
            form.get("client_secret"), form.get("redirect_uri"), challenge
        ) == (SECRET, kept["redirect_uri"], kept["code_challenge"])  # fmt: skip
        if not good or kept is None:
            _answer(handler, {"error": "invalid_grant"}, 400)
            return
        _answer(handler, {"access_token": "opaque-access", "token_type": "Bearer", "id_token": self._id_token(kept)})

    def _id_token(self, kept: Mapping[str, str]) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": CLIENT, "sub": "s1", "iat": now, "exp": now + 300, "nonce": kept["nonce"],
            **json.loads(kept["person"]),
        }  # fmt: skip
        lies: dict[str, dict[str, Any]] = {
            "audience": {"aud": "another"}, "issuer": {"iss": "https://evil.example"}, "nonce": {"nonce": "stale"},
            "expired": {"exp": now - 3600}, "unverified": {"email_verified": False}, "reserved": {"email": "user:root"},
        }  # fmt: skip
        claims |= lies.get(self.spoil, {})
        if self.spoil == "unsigned":
            return f"{_part({'alg': 'none'})}.{_part(claims)}."
        if self.spoil == "public-key-as-secret":
            text = f"{_part({'alg': 'HS256', 'kid': 'one'})}.{_part(claims)}"
            return f"{text}.{_base64(hmac.digest(self._key.as_pem(private=False), text.encode(), 'sha256'))}"
        key = RSAKey.generate_key(2048, {"kid": "one"}) if self.spoil == "key" else self._key
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, key)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _part(content: Any) -> str:
    return _base64(json.dumps(content).encode())


def _answer(handler: BaseHTTPRequestHandler, content: Any, status: int = 200) -> None:
    body = json.dumps(content).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
