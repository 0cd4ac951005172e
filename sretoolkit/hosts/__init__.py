"""Hosts: run, read and write here and far away, one by one or as a fleet; kernel settings as steps of a plan."""

from sretoolkit.hosts.congestion import change_congestion, congestion
from sretoolkit.hosts.fleet import Fleet, Outcome
from sretoolkit.hosts.host import Host, connect, host_of
from sretoolkit.hosts.result import Result
from sretoolkit.hosts.sysctl import SetSysctl

__all__ = ["Fleet", "Host", "Outcome", "Result", "SetSysctl", "change_congestion", "congestion", "connect", "host_of"]
