"""The report of one look at a host: one line a namespace, and a finding for what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from sretoolkit.config import Config
from sretoolkit.hosts import connect
from sretoolkit.pid1 import overview
from sretoolkit.pid1.look import Look, look
from sretoolkit.pid1.process import Machine
from sretoolkit.pid1.signals import number
from sretoolkit.pid1.survey import Survey
from sretoolkit.pid1.workload import Workload
from sretoolkit.report import Finding, Report


def health(host_name: str, config: Config | None = None, *, stop_signal: str | None = None) -> Report:
    """The first process of every PID namespace of a host: will it stop, who leaves zombies, how many ids are left.

    ``stop_signal`` is the one that all are stopped with; without it each is judged by the one that its runtime knows, or
    else by SIGTERM. Reads only; raises what `connect` and `Host.run` raise.
    """
    number(stop_signal or "SIGTERM")
    with connect(host_name, config) as host:
        return describe(look(host, stop_signal=stop_signal))


def report(
    machine: Machine,
    host_name: str,
    *,
    stop_signal: str | None = None,
    containers: Sequence[Workload] = (),
    troubles: Sequence[Finding] = (),
) -> Report:
    """The report on what a scan found, with what the runtimes say of its containers."""
    return describe(Look.of(machine, host_name, containers, troubles=troubles, stop_signal=stop_signal))


def describe(found: Look) -> Report:
    """The report on one look."""
    return overview.report(Survey.of(found), f"PID 1 health of {found.host}")
