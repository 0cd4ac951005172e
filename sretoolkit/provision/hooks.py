"""Hooks: programs that are told of events (JSON on stdin) and may answer (JSON on stdout), as Razor's are.

In: ``{"hook": {"name", "event", "configuration"}, "node": {...}, "policy": {...}}``. Out, all optional: ``{"hook":
{"configuration": {"update": {}, "remove": []}}, "node": {"metadata": {"update": {}, "remove": [], "clear": false}},
"output": "...", "error": "..."}``. A hook runs in a process group of its own, for its timeout at most; whatever it prints
is read while it runs, and nothing that it does or fails to do holds up a boot.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from sretoolkit.errors import ProvisionError
from sretoolkit.provision.entries import Hook, read
from sretoolkit.provision.node import Node
from sretoolkit.provision.registry import Registry, change, node_in, note

_MOST_OUTPUT = 1024 * 1024


@dataclass(frozen=True)
class Said:
    """How a hook ended: exit code (None: it was killed for its time), and what it printed."""

    exit_code: int | None
    out: bytes
    err: bytes

    @property
    def fault(self) -> str:
        """What went wrong; "" when nothing did."""
        last = "".join(self.err.decode("utf-8", "replace").strip().splitlines()[-1:])
        if self.exit_code is None:
            return f"it was killed, for it took too long or the server ended: {last}"
        return f"it ended with exit code {self.exit_code}: {last}" if self.exit_code else ""


def tell(registry: Registry, hook: Hook, event: str, node_id: str, stop: threading.Event | None = None) -> str:
    """Run a hook for an event and do what it answers; returns what went wrong, which is in the machine's log as well."""
    try:
        with registry.store.transaction() as tx:
            node = node_in(tx, node_id)
    except ProvisionError:  # it was forgotten meanwhile; the hook hears of what is left
        node = None
    said = run(hook, _told(registry, hook, event, node, node_id), stop)
    fault, answer = said.fault, {}
    if not fault:
        try:
            answer = json.loads(said.out or b"{}")
        except ValueError as error:
            fault = f"what it printed is no JSON: {error}"
        if not isinstance(answer, Mapping):
            fault, answer = "what it printed is no JSON table", {}
    fault = fault or str(answer.get("error") or "")[:500]
    try:
        _obey(registry, hook, node, answer)
    except (ProvisionError, AttributeError, TypeError) as error:
        fault = fault or f"its answer cannot be used: {error}"
    with registry.store.transaction() as tx:
        words = {"hook": hook.name, "told": event, "output": str(answer.get("output") or "")[:500]}
        note(tx, node_id, "hook-failed" if fault else "hook-ran", **words, **({"error": fault} if fault else {}))
    return fault


def run(hook: Hook, told: Mapping[str, Any], stop: threading.Event | None = None) -> Said:
    """Run its program once, until ``stop``. Output beyond one megabyte is thrown away; what it started is killed with it."""
    try:
        process = subprocess.Popen(
            hook.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
        )  # fmt: skip
    except OSError as error:
        return Said(127, b"", str(error).encode())
    kept: dict[str, bytes] = {"out": b"", "err": b""}
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    readers = [
        threading.Thread(target=_drain, args=(stream, kept, name), daemon=True)
        for stream, name in ((process.stdout, "out"), (process.stderr, "err"))
    ]
    writer = threading.Thread(target=_feed, args=(process.stdin, json.dumps(told).encode()), daemon=True)
    for thread in (*readers, writer):
        thread.start()
    code = _ended(process, hook.timeout, stop)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for thread in readers:
        thread.join(5)
    return Said(code, kept["out"], kept["err"])


def _ended(process: subprocess.Popen[bytes], timeout: float, stop: threading.Event | None) -> int | None:
    """Its exit code; None when its time was over, or we are to end."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and not (stop and stop.is_set()):
        try:
            return process.wait(min(0.2, timeout))
        except subprocess.TimeoutExpired:
            continue
    return None


def _drain(stream: IO[bytes], kept: dict[str, bytes], name: str) -> None:
    with stream:
        while data := stream.read1(65536):  # type: ignore[attr-defined]
            if len(kept[name]) < _MOST_OUTPUT:
                kept[name] += data


def _feed(stream: IO[bytes], data: bytes) -> None:
    try:
        with stream:
            stream.write(data)
    except OSError:  # it does not read what it is told
        return


def _told(registry: Registry, hook: Hook, event: str, node: Node | None, node_id: str) -> dict[str, Any]:
    policy = registry.policies().get(node.policy) if node and node.policy else None
    shown: dict[str, Any] = {"name": node_id}
    if node is not None:
        shown |= {
            "hw_info": node.hardware.to_dict(), "facts": dict(node.facts), "metadata": dict(node.metadata),
            "hostname": node.hostname, "state": node.state, "installed": node.installed, "address": node.address,
        }  # fmt: skip
    told = {"hook": {"name": hook.name, "event": event, "configuration": hook.configuration}, "node": shown}
    return told | ({"policy": policy.to_dict()} if policy else {})


def _obey(registry: Registry, hook: Hook, node: Node | None, answer: Mapping[str, Any]) -> None:
    asked = answer.get("hook", {}).get("configuration", {})
    if asked:
        after = _changed(hook.configuration, asked)
        with registry.store.transaction() as tx:
            document = read("hook", {**hook.to_dict(), "configuration": after})
            registry.put(tx, "hook", hook.name, document)
    if node is not None and (metadata := answer.get("node", {}).get("metadata", {})):
        with registry.store.transaction() as tx:
            change(tx, node.id, metadata=_changed(node_in(tx, node.id).metadata, metadata))


def _changed(before: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    kept = {} if asked.get("clear") is True else {k: v for k, v in before.items() if k not in asked.get("remove", ())}
    return {**kept, **asked.get("update", {})}
