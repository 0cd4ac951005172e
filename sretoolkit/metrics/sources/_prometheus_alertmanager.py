"""The Alertmanager beside a Prometheus: which alerts are silenced, and silencing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sretoolkit.actor import Actor
from sretoolkit.errors import NotExpressible
from sretoolkit.http.client import Answer
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.sources._prometheus_alerts import entity_of, moment, state_of, told
from sretoolkit.metrics.sources._prometheus_sli import escaped
from sretoolkit.metrics.states import CheckState
from sretoolkit.metrics.wire import Wire
from sretoolkit.report import plain
from sretoolkit.secrets import Secret

if TYPE_CHECKING:
    from sretoolkit.metrics.sources.prometheus import Prometheus

OPTIONS = frozenset({"alertmanager", "alertmanager_token", "alertmanager_username", "alertmanager_password"})
_OWN_SERVER_LABELS = frozenset({"__name__", "alertstate"})
_OVER = frozenset({"expired"})


class Alertmanager:
    """One Alertmanager, by its API of version 2."""

    def __init__(self, server: Prometheus) -> None:
        self.server = server
        self.wire = Wire(_endpoint(server.endpoint), product="Alertmanager", said=_said, clock=server.clock)

    def close(self) -> None:
        """Close the connections."""
        self.wire.close()

    def merged(self, states: list[CheckState]) -> list[CheckState]:
        """The server's alerts with what is known of them here, and the alerts that other servers sent."""
        alerts = self._alerts()
        known = {frozenset(_labels(alert).items()): alert for alert in alerts}
        used: set[frozenset[tuple[str, str]]] = set()
        found = []
        for state in states:
            own = frozenset(state.labels.items())
            # a server adds its external labels to what it sends
            keys = [key for key in ([own] if own in known else known) if own <= key] if _is_alert(state) else []
            used.update(keys)
            found.append(_with(state, [known[key] for key in keys]))
        return found + [self._foreign(alert) for key, alert in known.items() if key not in used]

    def silences(self, window: Window) -> Iterator[Event]:
        """Those that held at some time of the window."""
        for silence in self._asked("GET", "/api/v2/silences"):
            start, end = moment(silence.get("startsAt")), moment(silence.get("endsAt"))
            if start is None:
                continue
            matched = ", ".join(_written(matcher) for matcher in silence.get("matchers") or ())
            event = Event(
                start=start,
                end=end,
                title=plain(f"silence: {matched}"),
                text=plain(f"{silence.get('comment', '')} (by {silence.get('createdBy', '')})"),
                tags=("silence", str((silence.get("status") or {}).get("state", ""))),
                source=self.server.name,
                id=str(silence.get("id", "")),
            )
            if event.within(window):
                yield event

    def silence(self, check: CheckState, window: Window, comment: str) -> str:
        """Silence the alerts with exactly this check's labels; returns the silence's id."""
        matchers = [_matcher(name, value) for name, value in check.labels.items() if name not in _OWN_SERVER_LABELS]
        if not matchers:
            matchers = [_matcher("alertname", check.check)] if check.check else []
            host = {"name": "instance", "value": f"{escaped(check.entity)}(:[0-9]+)?", "isRegex": True, "isEqual": True}
            matchers += [host] if check.entity else []
        body = {
            "matchers": matchers,
            "startsAt": _time(window.start),
            "endsAt": _time(window.end),
            "createdBy": str(Actor.current()),
            "comment": comment,
        }
        made = self._asked("POST", "/api/v2/silences", json=body)
        return str(made["silenceID"])

    def unsilence(self, identifier: str) -> None:
        """End a silence; one that is over or unknown is fine."""
        path = f"/api/v2/silence/{quote(identifier, safe='')}"
        state = self._state(path)
        if state and state not in _OVER:
            self.wire.ask("DELETE", path, repeatable=True)

    def _state(self, path: str) -> str:
        answer = self.wire.http.send("GET", path)
        if answer.status == 404:
            return ""
        if not answer.ok:
            self.wire.refused(answer, "")
        try:
            return str(answer.json()["status"]["state"])
        except (ValueError, KeyError, TypeError):
            self.wire.foreign(answer)

    def _alerts(self) -> list[dict[str, Any]]:
        found = self._asked("GET", "/api/v2/alerts")
        return [alert for alert in found if isinstance(alert, dict)]

    def _asked(self, method: str, path: str, **options: Any) -> Any:
        answer = self.wire.ask(method, path, **options)
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict if method == "POST" else list) or (method == "POST" and "silenceID" not in found):
            self.wire.foreign(answer)
        return found

    def _foreign(self, alert: Mapping[str, Any]) -> CheckState:
        labels = _labels(alert)
        state = CheckState(
            entity=entity_of(labels),
            check=labels.get("alertname", ""),
            state=state_of(labels),
            since=moment(alert.get("startsAt")),
            checked_at=moment(alert.get("updatedAt")),
            output=told({str(key): str(value) for key, value in (alert.get("annotations") or {}).items()}),
            labels=labels,
            source=self.server.name,
        )
        return _with(state, [alert])


def refusal(server: Prometheus, what: str) -> NotExpressible:
    """That there is no Alertmanager to do it."""
    return server.cannot(
        what,
        reason="alerts are silenced in an Alertmanager, and the source names none",
        nearest='set alertmanager = "http://host:9093" (or "/path" on the same host) in the source\'s configuration',
    )


def _endpoint(endpoint: Endpoint) -> Endpoint:
    """Where it is: a path on the same host, with the same login, or a URL with a login of its own."""
    given, remote = endpoint.options, endpoint.remote
    where = str(given["alertmanager"]).rstrip("/")
    if where.startswith("/"):
        return replace(endpoint, remote=replace(remote, url=remote.url.rstrip("/") + where))
    there = replace(
        remote,
        url=where,
        token=_secret(given.get("alertmanager_token")),
        username=str(given.get("alertmanager_username", "")),
        password=_secret(given.get("alertmanager_password")),
        headers={},
    )
    return replace(endpoint, remote=there, cluster="")


def _secret(reference: Any) -> Secret | None:
    return Secret(str(reference)) if reference else None


def _with(state: CheckState, alerts: Sequence[Mapping[str, Any]]) -> CheckState:
    if not alerts:
        return state
    statuses = [alert.get("status") or {} for alert in alerts]
    inhibited = all(status.get("inhibitedBy") for status in statuses)
    return replace(
        state,
        in_downtime=all(status.get("silencedBy") for status in statuses),
        output=f"{state.output} (inhibited by another alert)".lstrip() if inhibited else state.output,
        id=str(alerts[0].get("fingerprint", "")),
    )


def _is_alert(state: CheckState) -> bool:
    return "alertname" in state.labels and state.bad


def _labels(alert: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in (alert.get("labels") or {}).items()}


def _matcher(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "value": value, "isRegex": False, "isEqual": True}


def _written(matcher: Mapping[str, Any]) -> str:
    operator = ("=" if matcher.get("isEqual", True) else "!") + ("~" if matcher.get("isRegex") else "")
    return f"{matcher.get('name')}{'!=' if operator == '!' else operator}{matcher.get('value')}"


def _time(moment_: datetime) -> str:
    return moment_.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _said(answer: Answer) -> str:
    """Its own words: a JSON string, or an object with a message."""
    try:
        found = answer.json()
    except ValueError:
        return ""
    if isinstance(found, dict):
        return str(found.get("message") or found.get("error") or "")
    return found if isinstance(found, str) else ""
