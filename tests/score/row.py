"""One case's verdicts and truths, how they are marked, and the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sretoolkit.pid1.init import Stop
from tests.score.case import Case

_DOUBTFUL = {"handled", "uncertain", "unknown"}
_WORDS = {"handled": "clean", "not passed on": "lost", "cut off": "lost"} | dict.fromkeys(
    ("dropped", "ignored", "blocked", "deferred", "killed"), "killed"
)
_ROW = "{:24} {:9} {:26} {:10} {:14} {:10} {:10} {:10} {:10} {:16} {}"


@dataclass
class Row:
    """One case: foretold and true, for the stop and for orphans; "" = not known or not tried."""

    case: Case
    stop: Stop | None = None
    naive: str = "uncertain"
    static: str = "uncertain"
    truths: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    reaps: str = "unknown"
    orphan: str = ""
    clone: str = ""

    @property
    def truth(self) -> str:
        """The one of all stops, or those that it varied between."""
        return "/".join(sorted(set(self.truths)))

    @property
    def foretold(self) -> str:
        """In the words of the truth."""
        return _WORDS.get(self.stop.word if self.stop else "unknown", "uncertain")

    @property
    def rehearsed(self) -> str:
        """The same, after a rehearsal where one was made."""
        return self.clone or self.foretold

    @property
    def doubtful(self) -> bool:
        """Whether a rehearsal would tell more: no rule of the kernel decides, and Docker can make a clone."""
        stop, case = self.stop, self.case
        possible = case.runtime == "docker" and not case.beside
        return bool(stop and possible and stop.proof != "certain" and stop.word in _DOUBTFUL)


def mark(foretold: str, truth: str) -> str:
    """Right, wrong or uncertain; that a program may be lost is right where some stops lost it and others did not."""
    if foretold in ("uncertain", "unknown"):
        return "uncertain"
    return "right" if foretold == truth or (foretold, truth) == ("lost", "clean/lost") else "wrong"


def show(rows: Sequence[Row], halves: Sequence[str]) -> int:
    """The table, the scores, and whether the goals are met (0) or not (1)."""
    heads = (
        "case",
        "half",
        "foretold",
        "proof",
        "truth",
        "stop",
        "rehearsed",
        "naive",
        "static",
        "reaps/orphan",
        "why",
    )
    print(_ROW.format(*heads))
    for row in rows:
        stop = row.stop or Stop("unknown", "it is not the first process of a namespace")
        marks = [mark(each, row.truth) for each in (row.foretold, row.rehearsed, row.naive, row.static)]
        why = "" if marks[0] == "right" else stop.why
        told, orphan = f"{row.foretold} ({stop.word})", f"{row.reaps}/{row.orphan}"
        print(_ROW.format(row.case.name, row.case.half, told, stop.proof, row.truth, *marks, orphan, why))
    missed = 0
    for half in halves:
        mine = [row for row in rows if row.case.half == half]
        for what in ("foretold", "rehearsed", "naive", "static"):
            marks = [mark(getattr(row, what), row.truth) for row in mine]
            print(half, what, {word: marks.count(word) for word in ("right", "wrong", "uncertain")}, "of", len(mine))
            if what == "rehearsed":
                missed |= marks.count("right") < 0.95 * len(mine) or marks.count("wrong") > 0.02 * len(mine)
        tried = [mark(row.reaps, row.orphan) for row in mine if row.orphan]
        print(half, "reaping", {word: tried.count(word) for word in ("right", "wrong", "uncertain")}, "of", len(tried))
    certain = [row for row in rows if row.stop and row.stop.proof == "certain" and row.foretold != "uncertain"]
    false = [row.case.name for row in certain if row.foretold != row.truth]
    print(f"certain by the kernel: {len(certain) - len(false)} of {len(certain)} right", *false)
    return int(bool(missed or false))
