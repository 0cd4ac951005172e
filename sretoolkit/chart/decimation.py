"""Which points of a line a picture needs: no peak is lost, gaps remain, and the number does not grow with the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST = 5  # points a column: first, lowest, highest, last, and the gap behind them


def columns(times: NDArray[np.float64], start: float, end: float, count: int) -> NDArray[np.int64]:
    """The column of each time, when ``count`` of them share the window."""
    import numpy as np

    found: NDArray[np.int64] = np.floor((times - start) * (count / (end - start))).astype(np.int64)
    return found


def needed(values: NDArray[np.float64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """The ascending indexes of what is worth drawing of ``values`` (NaN is a gap), whose columns are ``places``.

    Of each column: the first, the lowest, the highest and the last value. Between values of two columns that a gap
    parts, the index of one NaN; a gap that begins and ends within one column is narrower than the picture can show.
    """
    import numpy as np

    seen = np.flatnonzero(~np.isnan(values))
    if not len(seen):
        return seen
    kept, column = values[seen], places[seen]
    turns = np.flatnonzero(column[1:] != column[:-1])
    starts, ends = np.append(0, turns + 1), np.append(turns, len(seen) - 1)
    chosen = np.zeros(len(seen), dtype=bool)
    chosen[starts] = chosen[ends] = True
    counts = ends - starts + 1
    for extreme in (np.minimum, np.maximum):
        hits = np.flatnonzero(kept == np.repeat(extreme.reduceat(kept, starts), counts))
        chosen[hits[np.append(True, column[hits[1:]] != column[hits[:-1]])]] = True
    gaps = seen[turns][seen[turns + 1] - seen[turns] > 1] + 1
    found: NDArray[np.int64] = np.sort(np.concatenate([seen[chosen], gaps]))
    return found
