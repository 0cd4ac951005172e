"""The command `provision` in processes of its own: plan first, apply, undo, simulate, import, and clear words for bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.runbook.desk import Desk

TAG = ("provision", "create-tag", "--name", "big", "--rule", '[">=", ["num", ["fact", "cpus"]], 8]')


def documents(desk: Desk, kind: str) -> Any:
    """What is written down."""
    return json.loads(desk.run("provision", "documents", kind, "--json").stdout)


def test_a_command_is_planned_applied_and_undone(desk: Desk) -> None:
    """Nothing without --apply; `undo` takes it back; both runs are on record."""
    planned = desk.run(*TAG)
    assert (0, [], True) == (planned.returncode, documents(desk, "tag"), "nothing was changed" in planned.stdout)
    applied = desk.run(*TAG, "--apply", "--json")
    assert (0, "completed") == (applied.returncode, json.loads(applied.stdout)["state"])
    assert ["big"] == [tag["name"] for tag in documents(desk, "tag")]
    assert 0 == desk.run("undo", "last", "--apply").returncode
    assert [] == documents(desk, "tag")


def test_bad_input_is_said_in_one_line(desk: Desk, tmp_path: Path) -> None:
    """Exit code 2, what is wrong and what to do; no traceback, nothing written."""
    (tmp_path / "facts.json").write_text("{")
    for arguments, words in [
        (("create-tag", "--name", "big", "--rule", '["xor"]'), "is no operator"),
        (("create-tag", "--name", "big", "--rule", "[1"), "is no JSON"),
        (("create-tag", "--name", "../x", "--rule", '["=", 1, 1]'), "is no name"),
        (("create-policy", "--name", "p", "--task", "image", "--tags", "gone", "--apply"), "wants the tag 'gone'"),
        (("node", "nobody"), "no one node"),
        (("simulate", "--facts", str(tmp_path / "facts.json")), "cannot be read"),
        (("import", "razor", str(tmp_path)), "no collections of Razor"),
        (("tftp",), "provision.url is not set"),
        (("nonsense",), "No such command"),
    ]:
        done = desk.run("provision", *arguments)
        assert (True, True) == (done.returncode in (1, 2), words in done.stdout), done.stdout
        assert "Traceback" not in done.stdout
    assert [] == documents(desk, "tag")


def test_a_folder_of_policies_is_checked_in_ci(desk: Desk, tmp_path: Path) -> None:
    """Issue "Exit code for CI, so policies can live in git with tests"."""
    for name, content in {
        "tags/big.json": {"rule": [">=", ["num", ["fact", "cpus"]], 8]},
        "policies/web.json": {"task": "image", "tags": ["big"]},
        "cases/small.json": {"facts": {"cpus": 2}, "expect": {"policy": "web"}},
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    wrong = desk.run("provision", "simulate", "--folder", str(tmp_path), "--check", "--json")
    assert (1, False) == (wrong.returncode, json.loads(wrong.stdout)["cases"]["ok"])
    assert "do not come out" in desk.run("provision", "apply", str(tmp_path), "--apply").stdout
    (tmp_path / "cases" / "small.json").write_text(json.dumps({"facts": {"cpus": 2}, "expect": {"policy": ""}}))
    assert 0 == desk.run("provision", "simulate", "--folder", str(tmp_path), "--check").returncode
    assert 0 == desk.run("provision", "apply", str(tmp_path), "--apply").returncode
    assert ["web"] == [policy["name"] for policy in documents(desk, "policy")]


def test_a_site_is_told_what_its_dhcp_needs(desk: Desk) -> None:
    """Dnsmasq whole, or what to add to a server that is there."""
    site = ("--interface", "br0", "--tftp", "10.0.0.1", "--network", "10.0.0.0/24")
    dnsmasq = desk.run("provision", "dhcp", "dnsmasq", *site, "--first", "10.0.0.100", "--last", "10.0.0.200").stdout
    assert "dhcp-range=10.0.0.100,10.0.0.200" in dnsmasq
    assert "client-classes" in json.loads(desk.run("provision", "dhcp", "kea", *site).stdout)
