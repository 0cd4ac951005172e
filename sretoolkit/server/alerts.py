"""Alertmanager's webhook: an alert that fits a rule asks for a run, once, and never because of what a run did.

::

    [hooks.alertmanager]
    token = "env:ALERTMANAGER_TOKEN"          # what Alertmanager sends as its bearer token

    [alerts.full-disk]
    match = {alertname = "DiskFull", severity = "page"}
    runbook = "free_disk"
    mode = "plan"                             # or "apply"
    parameters = {percent = 80}
    labels = {host = "instance"}              # a parameter from a label; annotations = {...} likewise
    most_per_hour = 3
    settle = "10m"
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from sretoolkit.actor import Actor
from sretoolkit.clock import parse_duration
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, SREToolkitError
from sretoolkit.journal import digest
from sretoolkit.runbook.access import Person
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.runbook.run import Order
from sretoolkit.server.site import Site

HOOK = Person(Actor("web", "hook:alertmanager", "hook"))
OURS = "sretoolkit_run"
"""A label or annotation by which a metric or rule of ours says that a run made it."""
_MOST_ALERTS = 200
_OPTIONS = ("match", "runbook", "mode", "parameters", "labels", "annotations", "most_per_hour", "settle")


@dataclass(frozen=True)
class AlertRule:
    """Which alerts ask for which runbook, and how often at most."""

    name: str
    match: Mapping[str, str]
    runbook: str
    mode: Literal["plan", "apply"]
    parameters: Mapping[str, Any]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    most_per_hour: int
    settle: timedelta

    @classmethod
    def of(cls, name: str, options: Mapping[str, Any]) -> AlertRule:
        """From the configuration; raises `ConfigError` for what is missing or unknown."""
        if unknown := sorted(set(options) - set(_OPTIONS)):
            raise ConfigError(f"[alerts.{name}] has no option {unknown[0]!r}", hint=f"it takes: {', '.join(_OPTIONS)}")
        if not options.get("match") or not options.get("runbook"):
            raise ConfigError(f"[alerts.{name}] needs match and runbook", hint='match = {alertname = "DiskFull"}')
        mode = options.get("mode", "plan")
        if mode not in ("plan", "apply"):
            raise ConfigError(f"[alerts.{name}]: {mode!r} is no mode", hint='write "plan" or "apply"')
        tables = {key: dict(options.get(key, {})) for key in ("match", "parameters", "labels", "annotations")}
        return cls(
            name, tables["match"], str(options["runbook"]), mode, tables["parameters"], tables["labels"],
            tables["annotations"], int(options.get("most_per_hour", 3)), parse_duration(str(options.get("settle", "10m"))),
        )  # fmt: skip

    def fits(self, labels: Mapping[str, Any]) -> bool:
        """Whether every label that it wants is there, with that value."""
        return all(labels.get(name) == value for name, value in self.match.items())

    def values(self, runbook: Runbook, alert: Mapping[str, Any]) -> dict[str, Any]:
        """The checked parameters: fixed ones, and texts of the alert, read by their declared types."""
        texts = {name: alert["labels"].get(label) for name, label in self.labels.items()}
        texts |= {name: alert["annotations"].get(label) for name, label in self.annotations.items()}
        given = {name: str(text) for name, text in texts.items() if text is not None}
        return runbook.parameters.check({**self.parameters, **given}, texts=set(given))


def rules_of(config: Config) -> list[AlertRule]:
    """All rules, by name."""
    return [AlertRule.of(name, config.endpoint("alerts", name)) for name in config.names("alerts")]


class Alerts:
    """What Alertmanager tells, judged alert by alert."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._rules = rules_of(site.config)

    def take(self, body: bytes) -> list[dict[str, str]]:
        """What came of each alert. Raises `ConfigError` for a body that is none of Alertmanager's."""
        try:
            content = json.loads(body)
            alerts = [_alert(item) for item in content["alerts"][:_MOST_ALERTS]]
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            text = f"this is no message of Alertmanager's webhook: {error!r}"[:300]
            raise ConfigError(text, hint="version 4 is meant") from None
        return [self._judged(rule, alert) for alert in alerts for rule in self._rules if rule.fits(alert["labels"])]

    def _judged(self, rule: AlertRule, alert: Mapping[str, Any]) -> dict[str, str]:
        about = {"rule": rule.name, "fingerprint": alert["fingerprint"]}
        if alert["status"] != "firing":
            return {**about, "did": "nothing", "why": "it is not firing"}
        key = f"alert {rule.name} {alert['fingerprint']} "
        if why := self._loop(rule, alert, key):
            return {**about, "did": "nothing", "why": why}
        try:
            found = Runbook.find(rule.runbook, self._site.config)
            order = Order(found, rule.values(found, alert), mode=rule.mode, origin=f"alert {rule.name}")
            asked = self._site.desk(HOOK).ask(order, once=key + alert["startsAt"])
        except SREToolkitError as error:
            return {**about, "did": "nothing", "why": error.message}
        if asked is None:
            return {**about, "did": "nothing", "why": "it was asked for already"}
        return {**about, "did": "asked", "run": asked.id}

    def _loop(self, rule: AlertRule, alert: Mapping[str, Any], key: str) -> str:
        """Why a run for this alert would chase its own tail; "" when it would not."""
        if run := alert["labels"].get(OURS) or alert["annotations"].get(OURS):
            return f"run {run} made it"
        sql = (
            "SELECT q.state, q.asked, r.state AS run_state, r.ended, {now} AS now FROM requests q "
            "LEFT JOIN runs r ON r.id = q.id WHERE q.once >= :first AND q.once < :last AND q.once <> :same"
        )
        mine = self._site.store.read(sql, first=key, last=key + "~", same=key + alert["startsAt"])
        for row in mine:
            going_on = row["state"] in ("waiting", "taken") or row["run_state"] in ("running", "awaiting_approval")
            if going_on or (row["ended"] and row["now"] - row["ended"] < rule.settle.total_seconds()):
                return "a run for it goes on, or has just ended: it may be that run's doing"
        begins = f"alert {rule.name} "
        hour = self._site.store.read(
            "SELECT count(*) AS count FROM requests WHERE once >= :first AND once < :last AND asked > {now} - 3600",
            first=begins, last=begins + "~",
        )  # fmt: skip
        return f"{rule.most_per_hour} runs in an hour are enough" if hour[0]["count"] >= rule.most_per_hour else ""


def _alert(item: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of an alert that are used, of the types that they must have."""
    labels, annotations = dict(item["labels"]), dict(item.get("annotations") or {})
    given = item.get("fingerprint") or digest(labels)
    text = {"fingerprint": given, "startsAt": item["startsAt"], "status": item["status"]}
    short = [
        isinstance(value, str) and value.isascii() and len(value) <= 80 and " " not in value for value in text.values()
    ]
    if not all(short):
        raise ValueError("fingerprint, startsAt and status are short texts")
    return {**text, "labels": labels, "annotations": annotations}
