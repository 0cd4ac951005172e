"""All cases of the score, and the files that their containers find in /seen."""

from __future__ import annotations

from pathlib import Path

from tests.score import first, second
from tests.score.case import Case

CASES: tuple[Case, ...] = (*first.CASES, *second.CASES)
FILES = {**first.FILES, **{path.name: path.read_text() for path in (Path(__file__).parent / "files").iterdir()}}
