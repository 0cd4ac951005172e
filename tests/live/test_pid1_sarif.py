"""SARIF against the format's own schema, which tests/stack/install unpacks from the npm registry."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from jsonschema.validators import validator_for  # type: ignore[import-untyped]

from sretoolkit.pid1.sarif import RULES, sarif
from sretoolkit.pid1.sighting import Sighting
from sretoolkit.report import SEVERITIES, Finding

pytestmark = pytest.mark.live
_HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
_SCHEMA = Path(os.environ.get("SRETOOLKIT_STACK_CACHE") or _HOME / "sretoolkit-stack") / "sarif-2.1.0.json"


def test_every_rule_and_place_is_valid() -> None:
    """Each rule at each severity, with and without file, line, host and container, active and suppressed."""
    if not _SCHEMA.exists() and not os.environ.get("CI"):
        pytest.skip("run tests/stack/install with npm to get the schema of SARIF")
    schema = json.loads(_SCHEMA.read_text())
    places: tuple[dict[str, Any], ...] = (
        {"path": "/srv/a b/Dockerfile", "line": 3},
        {"host": "web-7", "container": "x\x1b[31m\n"},
        {"host": "h"},
        {},
    )
    findings = [
        Finding(severity=severity, subject="s", summary="what", evidence="e", remedy="r", rule=rule)
        for rule in RULES
        for severity in SEVERITIES
    ]
    active = [Sighting(finding=finding, **place) for finding in findings for place in places]
    log = json.loads(json.dumps(sarif(active, suppressed=[(active[0], "reason")])))
    kind = validator_for(schema)
    assert [] == [f"{list(each.path)}: {each.message}" for each in kind(schema).iter_errors(log)]
    broken = {**log, "runs": [{**log["runs"][0], "tool": {}}]}
    assert any(kind(schema).iter_errors(broken))
