"""A sample of the score: what one look foretells of a few containers is what stopping them then does, Podman's among them."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sretoolkit.config import Config
from sretoolkit.hosts import connect
from sretoolkit.pid1.look import look
from tests.score.__main__ import foretell
from tests.score.corpus import CASES
from tests.score.row import Row, mark
from tests.score.stage import Stage

pytestmark = [
    pytest.mark.live,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.getuid() != 0, reason="a Docker Engine and Podman need root"),
]
_DOCKER, _PODMAN = 8, 2  # cases
_UNSEEN = {"exec-noop-handler", "php-pcntl-noop"}  # handlers that do nothing: no look can tell, only a rehearsal
_SLOW = {"java", "java-hook", "postgres-int", "systemd-right-signal", "systemd-wrong-signal"}  # may not end in 3 s here


def test_a_sample_of_the_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten containers, drawn by a seed that is printed: none is foretold wrongly, and most are not called uncertain."""
    seed = int(os.environ.get("SRETOOLKIT_SCORE_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"SRETOOLKIT_SCORE_SEED={seed}")
    drawn = random.Random(seed)
    left = [case for case in CASES if case.name not in _UNSEEN | _SLOW and not case.beside]
    cases = drawn.sample([case for case in left if case.runtime == "docker"], _DOCKER)
    cases += drawn.sample([case for case in left if case.runtime == "podman"], _PODMAN)
    rows = {case.name: Row(case) for case in cases}
    with Stage(tmp_path) as stage, ThreadPoolExecutor(4) as pool:
        for name, value in stage.environment.items():
            monkeypatch.setenv(name, value)
        stage.start(cases, pool, first=True)
        with connect("localhost", Config()) as host:
            found = look(host)
        for row in rows.values():
            foretell(row, found)
        for name, (truth, _) in stage.stop(cases, pool).items():
            rows[name].truths.append(truth)
    marks = {name: (mark(row.foretold, row.truth), row.foretold, row.truth) for name, row in rows.items()}
    assert [] == [(name, *told) for name, told in marks.items() if told[0] == "wrong"]
    assert sum(told[0] == "right" for told in marks.values()) >= len(marks) - 2, marks
