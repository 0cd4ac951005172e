"""HTTP to one monitoring system: what goes wrong is said as what it means for the question."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from sretoolkit.clock import Clock
from sretoolkit.errors import HTTPError, QueryError, SourceError, SourceUnavailable, TooCostly, Unanswered
from sretoolkit.http.client import Answer, Client, Into, Parameters
from sretoolkit.metrics.cluster import through
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.report import plain


class Wire:
    """The connection of one source. ``product`` is what should be answering; ``said`` reads its own words for an error.

    ``said(answer)`` returns "" when the body holds no error of this product.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        product: str,
        said: Callable[[Answer], str] = lambda answer: "",
        clock: Clock | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.product = product
        self.said = said
        remote = through(endpoint.cluster, endpoint.remote) if endpoint.cluster else endpoint.remote
        self.http = Client(remote, clock=clock)

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        params: Parameters | None = None,
        form: Parameters | None = None,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        timeout: float | None = None,
        into: Into | None = None,
    ) -> Answer:
        """One request with a good (2xx) answer; ``query`` is what the user asked, for errors; ``into`` as of `Client.send`.

        Raises `SourceUnavailable` (try again), `QueryError` (the server's own words), `TooCostly` (the answer has no
        end) or `SourceError` (login, address).
        """
        try:
            answer = self.http.send(
                method,
                path,
                params=params,
                form=form,
                json=json,
                content=content,
                headers=headers,
                repeatable=repeatable,
                timeout=timeout,
                into=into,
            )
        except HTTPError as error:
            self.failed(error, query)
        if not answer.ok:
            self.refused(answer, query)
        return answer

    def json(self, method: str, path: str, *, query: str = "", **options: Any) -> Any:
        """The same, as JSON; something else than JSON is `SourceUnavailable` and shows how it begins."""
        answer = self.ask(method, path, query=query, **options)
        try:
            return answer.json()
        except ValueError:
            self.foreign(answer, query)

    @contextmanager
    def stream(
        self, method: str, path: str, *, query: str = "", timeout: float, **options: Any
    ) -> Iterator[Iterator[bytes]]:
        """The lines of an answer as they come; errors as of `ask`. It ends quietly when ``timeout`` seconds are over."""
        try:
            with self.http.stream(method, path, timeout=timeout, **options) as (answer, lines):
                if not answer.ok:
                    self.refused(answer, query)
                yield self._quiet(lines, query)
        except HTTPError as error:
            self.failed(error, query)

    def _quiet(self, lines: Iterator[bytes], query: str) -> Iterator[bytes]:
        try:
            yield from lines
        except Unanswered as error:
            if not error.timed_out:
                self.failed(error, query)

    def failed(self, error: HTTPError, query: str) -> NoReturn:
        """Raise what an exchange that came to no end means."""
        name = self.endpoint.name
        text = error.message if self.endpoint.url in error.message else f"{error.message} ({self.endpoint.url})"
        told = text if name.endswith(self.endpoint.url) else f"{name}: {text}"
        kind = SourceUnavailable if isinstance(error, Unanswered) else SourceError
        kind = TooCostly if "MiB" in error.message else kind
        raise kind(told, source=name, query=query, hint=error.hint) from error

    def refused(self, answer: Answer, query: str) -> NoReturn:
        """Raise what an answer with an error status means."""
        name, status = self.endpoint.name, answer.status
        words = plain(self.said(answer))
        told = words or f"HTTP {status} {answer.reason}"
        where: dict[str, Any] = {"source": name, "query": query}
        if status in (401, 403):
            hint = "check token, or username and password, in the source's configuration; has it expired?"
            raise SourceError(f"{name} refused us: {told}", **where, hint=hint)
        if 300 <= status < 400:
            to = plain(answer.headers.get("Location", "somewhere"))
            hint = "set url to where the API really is; a login page means that a token is missing"
            raise SourceError(f"{name} sends us elsewhere: {to}", **where, hint=hint)
        if status == 407:
            raise SourceError(
                f"{name}: the proxy refused us: {told}", **where, hint="check proxy_username and proxy_password"
            )
        if status == 413:
            raise TooCostly(
                f"{name}: {told}", **where, hint="ask for less: fewer series, a shorter window, a longer step"
            )
        if status >= 500 or status in (408, 425, 429):
            hint = "try again; when it persists, look at the server's own log and load"
            raise SourceUnavailable(f"{name} failed: {told}", **where, hint=hint)
        if words:
            raise QueryError(f"{name}: {words}", **where, hint=f"mend the query: {query}" if query else "")
        self.foreign(answer, query)

    def foreign(self, answer: Answer, query: str = "") -> NoReturn:
        """Raise that something else than the product is at that address."""
        asked = answer.url.partition("?")[0]
        text = f"{self.endpoint.name} answered {answer.said}, which is not {self.product}'s JSON"
        hint = f"does url lead to {self.product} itself, not to a proxy's or another page? it was asked at {asked}"
        error = SourceError if answer.status == 404 else SourceUnavailable
        raise error(text, source=self.endpoint.name, query=query, hint=hint)
