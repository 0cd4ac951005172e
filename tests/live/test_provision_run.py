"""The runbook provision_host, as a command, on a virtual machine: planned, approved, carried out, on record."""

from __future__ import annotations

import subprocess
from pathlib import Path

from sretoolkit.actor import Actor
from sretoolkit.journal import Keys, find_runs, load_run, verify_run, verify_store
from sretoolkit.plan.approval import approve
from tests.live.rack import LIVE, Lab, command
from tests.stack.debian import debian

pytestmark = LIVE


def test_a_debian_is_provisioned_by_the_runbook_and_answers_by_ssh(lab: Lab) -> None:
    """Issue "Done when": the record shows it phase by phase; other runbooks reach the host at once, by the key made for it."""
    server = lab.server()
    login = server.folder / "login"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(login)], check=True)
    public = Path(f"{login}.pub").read_text().strip()
    server.offer(debian(), "debian", keys=[public], seed_path="/var/lib/cloud/seed/nocloud")
    machine = lab.machine()
    machine.on()
    node = server.node(machine)
    asked = command(server, "run", "provision_host", "-p", f"node={machine.serial}", "--apply")
    run = find_runs(server.store)[0]
    assert (4, "awaiting_approval") == (asked.returncode, run.state), asked.stdout + asked.stderr
    approve(server.store, load_run(server.store, run.id), actor=Actor("bob"), config=server.config)
    done = command(server, "run", "--resume", run.id)
    assert 0 == done.returncode, done.stdout + done.stderr + server.told(machine)
    found = server.registry.node(node.id)
    page = Path(str(load_run(server.store, run.id).html)).read_text()
    phases = [
        "to write debian onto its disk",
        "has checked that it and its disk",
        "read back",
        "called home",
        "answers by SSH",
    ]
    assert ("installed", []) == (found.state, [words for words in phases if words not in page])
    keys = Keys.of(server.config)
    assert "whole" == verify_run(server.store, keys, run.id).state
    assert all(proof.ok for proof in verify_store(server.store, keys))  # the server's own run is still being written
    looked = command(server, "pid1", f"host:provisioned://{found.hostname}")
    assert "systemd" in looked.stdout, looked.stdout + looked.stderr
