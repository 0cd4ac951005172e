"""Logging in with an OpenID provider: authorization code with PKCE; what comes back is believed only when it is signed for us."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from authlib.common.security import generate_token
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.errors import AccessDenied, ConfigError, HTTPError
from sretoolkit.http import Answer, Client, Remote
from sretoolkit.runbook.access import Person
from sretoolkit.secrets import Secret

_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_LEEWAY = 60
_FRESH_FOR = 3600.0
_MOST_BYTES = 1024 * 1024
_TIMEOUT = timedelta(seconds=10)


@dataclass(frozen=True)
class ProviderVisit:
    """What one goes out with, and what the answer must fit."""

    nonce: str
    verifier: str

    @property
    def kept(self) -> dict[str, str]:
        """As data."""
        return {"nonce": self.nonce, "verifier": self.verifier}


class Provider:
    """One provider, as it describes itself at its issuer's address."""

    def __init__(self, config: Config) -> None:
        self._issuer = str(config["oidc.issuer"]).rstrip("/")
        self._client_id = str(config["oidc.client_id"])
        self._secret = str(config["oidc.client_secret"])
        self._scopes = list(config["oidc.scopes"])
        self._identity, self._groups = str(config["oidc.identity"]), str(config["oidc.groups"])
        self._ca = str(config["oidc.ca"])
        self._lock = threading.Lock()
        self._known: tuple[float, dict[str, Any], KeySet] | None = None

    @classmethod
    def of(cls, config: Config) -> Provider | None:
        """The configured one; None when there is none."""
        if bool(config["oidc.issuer"]) != bool(config["oidc.client_id"]):
            raise ConfigError("oidc.issuer and oidc.client_id go together", hint="set both, or neither")
        return cls(config) if config["oidc.issuer"] else None

    @property
    def name(self) -> str:
        """What it is called on the button."""
        return urlsplit(self._issuer).hostname or self._issuer

    def visit(self) -> ProviderVisit:
        """A new visit."""
        return ProviderVisit(generate_token(32), generate_token(64))

    def address(self, visit: ProviderVisit, *, state: str, redirect: str) -> str:
        """Where the browser is sent."""
        about, _ = self._described()
        return str(
            prepare_grant_uri(
                about["authorization_endpoint"], self._client_id, "code", redirect_uri=redirect,
                scope=list(dict.fromkeys(["openid", *self._scopes])), state=state, nonce=visit.nonce,
                code_challenge=create_s256_code_challenge(visit.verifier), code_challenge_method="S256",
            )
        )  # fmt: skip

    def person(self, kept: Mapping[str, str], *, code: str, redirect: str) -> Person:
        """Who came back with this code. Raises `AccessDenied` for what the provider did not sign for us and this visit."""
        about, _ = self._described()
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "client_id": self._client_id,
            "code_verifier": kept["verifier"], **({"client_secret": Secret(self._secret).reveal()} if self._secret else {}),
        }  # fmt: skip
        answer = self._send("POST", about["token_endpoint"], form=form)
        told = answer.json() if answer.ok else {}
        token = told.get("id_token") if isinstance(told, dict) else None
        if not isinstance(token, str):
            raise _denied("it gave no id token for the code")
        return self._person(self._claims(token, kept["nonce"]))

    def _claims(self, token: str, nonce: str) -> dict[str, Any]:
        """The claims of an id token, signed by one of the provider's keys (asked for anew when it is none that is known)."""
        try:
            try:
                claims = dict(jwt.decode(token, self._described()[1], algorithms=_ALGORITHMS).claims)
            except (JoseError, ValueError):
                claims = dict(jwt.decode(token, self._described(anew=True)[1], algorithms=_ALGORITHMS).claims)
            jwt.JWTClaimsRegistry(
                leeway=_LEEWAY, iss={"essential": True, "value": self._issuer_said()}, exp={"essential": True},
                aud={"essential": True, "value": self._client_id}, sub={"essential": True}, iat={"essential": True},
                nonce={"essential": True, "value": nonce},
            ).validate(claims)  # fmt: skip
        except (JoseError, ValueError) as error:
            raise _denied(f"its id token is not good: {error}") from error
        audience = claims["aud"]
        if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != self._client_id:
            raise _denied("its id token is for somebody else")
        return claims

    def _person(self, claims: Mapping[str, Any]) -> Person:
        identity = claims.get(self._identity)
        if not isinstance(identity, str) or not identity.strip() or not identity.isprintable() or len(identity) > 200:
            raise _denied(f"it does not say who you are: there is no claim {self._identity}")
        if identity.startswith(("user:", "group:", "hook:", "*")):
            raise _denied("it calls you by a name that means something else here")
        if self._identity == "email" and claims.get("email_verified") is not True:
            raise _denied("it has not verified your email address", hint="or set oidc.identity to another claim")
        groups = claims.get(self._groups, [])
        found = [group for group in groups if isinstance(group, str)] if isinstance(groups, list) else []
        return Person(Actor("web", identity.strip(), "oidc"), frozenset(found[:1000]))

    def _issuer_said(self) -> str:
        return str(self._described()[0]["issuer"])

    def _described(self, *, anew: bool = False) -> tuple[dict[str, Any], KeySet]:
        with self._lock:
            if self._known is None or anew or time.monotonic() - self._known[0] > _FRESH_FOR:
                about = self._json(f"{self._issuer}/.well-known/openid-configuration")
                missing = [
                    name for name in ("authorization_endpoint", "token_endpoint", "jwks_uri") if name not in about
                ]
                if missing or str(about.get("issuer", "")).rstrip("/") != self._issuer:
                    raise ConfigError(
                        f"what {self._issuer} says of itself is not of that issuer", hint="check oidc.issuer"
                    )
                keys = KeySet.import_key_set(self._json(about["jwks_uri"]))  # type: ignore[arg-type]
                self._known = (time.monotonic(), about, keys)
            return self._known[1:]

    def _json(self, url: str) -> dict[str, Any]:
        answer = self._send("GET", url)
        try:
            content = answer.json() if answer.ok else None
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise HTTPError(f"{url} did not answer with JSON: {answer.said}", url=url, hint="check oidc.issuer")
        return content

    def _send(self, method: str, url: str, **options: Any) -> Answer:
        """One exchange with the provider, whose addresses may be on several hosts."""
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
            raise ConfigError(f"{url} of the provider is not encrypted", hint="oidc.issuer must be an https:// address")
        client = Client(Remote(url=url, ca=self._ca, most_bytes=_MOST_BYTES, timeout=_TIMEOUT))
        try:
            return client.send(method, headers={"Accept": "application/json"}, **options)
        finally:
            client.close()


def _denied(why: str, *, hint: str = "begin again at /login") -> AccessDenied:
    return AccessDenied(f"the provider was not believed: {why}", hint=hint)
