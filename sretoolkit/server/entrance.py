"""Logging in and out: by the local user's address, or by the OpenID provider."""

from __future__ import annotations

import hmac

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sretoolkit.actor import Actor
from sretoolkit.errors import AccessDenied
from sretoolkit.runbook.access import Person
from sretoolkit.server.answers import page
from sretoolkit.server.guard import visit_of
from sretoolkit.server.logins import VISIT_FOR
from sretoolkit.server.oidc import Provider
from sretoolkit.server.sessions import digest
from sretoolkit.server.site import Site

_VISIT = "sretoolkit-login"


class Entrance:
    """The addresses below ``/login``."""

    def __init__(self, site: Site, provider: Provider | None) -> None:
        self._site = site
        self._provider = provider

    def show(self, request: Request) -> Response:
        """What one can log in with. An address with a token is used by a button: opening it alone uses nothing up."""
        token, target = request.query_params.get("token", ""), own_path(request.query_params.get("next", "/"))
        provider = self._provider.name if self._provider else ""
        return page("login.html", visit_of(request.scope), token=token, target=target, provider=provider, refused="")

    def local(self, request: Request) -> Response:
        """Use the token of an address up."""
        form = visit_of(request.scope).form
        found = self._site.logins.end(form.get("token", ""))
        if not found or "actor" not in found:
            text = "This address was used already, or is too old. `sretoolkit serve --login` prints a new one."
            about = {
                "token": "",
                "target": "/",
                "provider": self._provider.name if self._provider else "",
                "refused": text,
            }
            return page("login.html", visit_of(request.scope), status=403, **about)
        return self._enter(request, Person(Actor(**found["actor"])), form.get("next", "/"))

    def leave(self, request: Request) -> Response:
        """To the provider: what its answer must fit is kept here, and is bound to this browser by a cookie."""
        provider = self._needed()
        visit = provider.visit()
        browser = self._site.logins.begin({"browser": True}, seconds=VISIT_FOR)
        kept = {"oidc": visit.kept, "browser": digest(browser), "next": own_path(request.query_params.get("next", "/"))}
        state = self._site.logins.begin(kept, seconds=VISIT_FOR)
        answer = RedirectResponse(provider.address(visit, state=state, redirect=self._redirect(request)), 303)
        self._set(answer, _VISIT, browser, path="/login", seconds=int(VISIT_FOR))
        return answer

    def come_back(self, request: Request) -> Response:
        """From the provider: raises `AccessDenied` for an answer that this browser did not go out for."""
        provider = self._needed()
        found = self._site.logins.end(request.query_params.get("state", ""))
        browser = request.cookies.get(_VISIT, "")
        if not found or "oidc" not in found or not hmac.compare_digest(found["browser"], digest(browser)):
            raise AccessDenied("this login was not begun here, or took too long", hint="begin again at /login")
        self._site.logins.end(browser)
        if problem := request.query_params.get("error"):
            raise AccessDenied(f"the provider refused: {problem[:100]}", hint="begin again at /login")
        code = request.query_params.get("code", "")
        person = provider.person(found["oidc"], code=code, redirect=self._redirect(request))
        answer = self._enter(request, person, found["next"])
        answer.delete_cookie(_VISIT, path="/login")
        return answer

    def log_out(self, request: Request) -> Response:
        """End the session."""
        visit = visit_of(request.scope)
        if visit.session is not None:
            self._site.sessions.close(visit.session)
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(self._site.cookie, path="/", secure=self._site.secure, httponly=True, samesite="lax")
        return answer

    def _enter(self, request: Request, person: Person, target: str) -> Response:
        """Whatever the browser had before, it gets an id that nobody can have put there."""
        cookie = self._site.sessions.open(person, instead_of=request.cookies.get(self._site.cookie, ""))
        answer = RedirectResponse(own_path(target), 303)
        self._set(answer, self._site.cookie, cookie, path="/", seconds=None)
        return answer

    def _set(self, answer: Response, name: str, value: str, *, path: str, seconds: int | None) -> None:
        answer.set_cookie(
            name, value, max_age=seconds, path=path, secure=self._site.secure, httponly=True, samesite="lax"
        )

    def _redirect(self, request: Request) -> str:
        base = self._site.url or f"{request.url.scheme}://{request.headers.get('host', '')}"
        return f"{base}/login/provider/back"

    def _needed(self) -> Provider:
        if self._provider is None:
            raise AccessDenied("no provider is configured", hint="set oidc.issuer and oidc.client_id")
        return self._provider


def own_path(given: str) -> str:
    """The path of a page of ours; "/" for what leads anywhere else, however a browser might read it."""
    good = given.startswith("/") and not given.startswith("//") and "\\" not in given
    return given if good and given.isascii() and given.isprintable() and len(given) < 2000 else "/"
