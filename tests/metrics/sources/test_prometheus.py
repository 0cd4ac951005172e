"""PromQL that says what was meant, answers read as they come, and raw samples in their packings."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from sretoolkit.clock import FakeClock
from sretoolkit.config import Config
from sretoolkit.errors import NotExpressible, QueryError, SourceUnavailable, TooCostly
from sretoolkit.metrics import MetricSource, connect
from sretoolkit.metrics.matcher import Matcher, Selector
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.sources import _prometheus_protobuf as protobuf
from sretoolkit.metrics.sources._prometheus_body import Body, Result, uncollected
from sretoolkit.metrics.sources._prometheus_chunks import decoded
from sretoolkit.metrics.sources._prometheus_sli import escaped, promql
from tests.stack.prometheus import field, varint
from tests.stack.replay import reply, serve

NOW = 1_795_392_000
WINDOW = timedelta(minutes=10)
_CONDITION = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[a-zA-Z_][a-zA-Z0-9_]*)(=~|!~|!=|=)("(?:[^"\\\n]|\\.)*")\s*(,|$)', re.S)
TEXT = some.text(some.characters(exclude_categories=["Cs"]), max_size=12) | some.text('"\\{}\n\t,=~', max_size=8)
NUMBERS = some.floats() | some.integers(-(10**18), 10**18).map(float) | some.decimals(
    -(10**6), 10**6, places=3, allow_nan=False
).map(float)  # fmt: skip


def unquoted(text: str) -> str:
    """What a PromQL string between double quotes is, by the rules of Go."""
    found, at = [], 1
    while at < len(text) - 1:
        if text[at] != "\\":
            found.append(text[at])
            at += 1
        elif text[at + 1] == "x":
            found.append(chr(int(text[at + 2 : at + 4], 16)))
            at += 4
        else:
            found.append({"n": "\n", "t": "\t", "\\": "\\", '"': '"'}[text[at + 1]])
            at += 2
    return "".join(found)


def read(query: str) -> tuple[str, list[Matcher]]:
    """A selector in PromQL, read back."""
    name, brace, rest = query.partition("{")
    found, at, inside = [], 0, rest[:-1] if brace else ""
    while at < len(inside):
        match = _CONDITION.match(inside, at)
        assert match, inside[at:]
        label = unquoted(match[1]) if match[1].startswith('"') else match[1]
        found.append(Matcher(label, match[2], unquoted(match[3])))  # type: ignore[arg-type]
        at = match.end()
    return name, found


@given(some.lists(some.tuples(some.text(min_size=1, max_size=5, alphabet="aZ_9.é -"), TEXT), max_size=3))
def test_any_label_value_comes_back_out_of_promql(conditions: list[tuple[str, str]]) -> None:
    """Whatever stands in a label's name or value, the query selects exactly that and nothing else."""
    matchers = tuple(Matcher(label, "=", value) for label, value in conditions)
    assert ("requests", list(matchers)) == read(promql(Selector("requests", matchers)))


@given(TEXT)
def test_a_name_that_is_none_in_promql_is_matched_as_a_label(name: str) -> None:
    """A metric with any name is found, and cannot change the query."""
    found, matchers = read(promql(Selector(name)))
    assert name == (found or matchers[0].value)
    assert found or "__name__" == matchers[0].label
    assert re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*|", found)


@given(TEXT)
def test_an_escaped_expression_matches_its_text_alone(text: str) -> None:
    """An entity's name is a text in the expression, never an expression."""
    assert re.fullmatch(escaped(text), text)
    assert not re.fullmatch(escaped(text), f"{text}x")


def prometheus(**options: Any) -> MetricSource:
    """A source that is not asked."""
    return source("http://127.0.0.1:1", **options)


def source(url: str, **options: Any) -> MetricSource:
    """A configured source named ``prod``."""
    config = Config.of(sources={"prod": {"kind": "prometheus", "url": url, "timeout": "5s", **options}})
    return connect("prod", config, clock=FakeClock(datetime.fromtimestamp(NOW, UTC)))


REQUESTS = {"bad": 'http_requests{code=~"5.."}', "total": "http_requests"}


@pytest.mark.parametrize(
    ("sli", "native", "estimated"),
    [
        (
            SLI.error_ratio("e", **REQUESTS, by=["job"], window=WINDOW),
            '(sum by (job) (increase(http_requests{code=~"5.."}[10m])) or 0 * sum by (job) (increase(http_requests[10m])))'
            " / sum by (job) (increase(http_requests[10m]))",
            "extrapolates",
        ),
        (
            SLI.error_ratio("e", bad="errors", total="requests", window=WINDOW),
            "sum(increase(errors[10m])) / sum(increase(requests[10m]))",
            "extrapolates",
        ),
        (
            SLI.throughput("t", total="requests", counter="delta", window=WINDOW),
            "sum(sum_over_time(requests[599999ms])) / 600",
            "1 ms younger",
        ),
        (
            SLI.latency_quantile("l", metric='latency{a="b"}', quantile=0.9, by=["job"], window=WINDOW),
            'histogram_quantile(0.9, sum by (job) (rate(latency{a="b"}[10m]))) or '
            'histogram_quantile(0.9, sum by (job, le) (rate(latency_bucket{a="b"}[10m])))',
            "same bucket",
        ),
        (
            SLI.latency_quantile("l", metric="latency_bucket", window=timedelta(seconds=90)),
            "histogram_quantile(0.99, sum by (le) (rate(latency_bucket[90s])))",
            "same bucket",
        ),
        (
            SLI.saturation("s", metric="used", capacity="size", by=["disk"], window=WINDOW),
            "max by (disk) (max_over_time(used[599999ms])) / sum by (disk) (last_over_time(size[599999ms]))",
            "1 ms younger",
        ),
        (
            SLI.availability("a", entity="h.1", check="node", window=WINDOW),
            'sum(sum_over_time(up{instance=~"h\\\\.1(:[0-9]+)?", job="node"}[599999ms])) / '
            'sum(count_over_time(up{instance=~"h\\\\.1(:[0-9]+)?", job="node"}[599999ms]))',
            "1 ms younger",
        ),
    ],
    ids=lambda given: given.kind if isinstance(given, SLI) else "",
)
def test_an_indicator_is_one_query(sli: SLI, native: str, estimated: str) -> None:
    """Each kind of indicator is the PromQL that says it, and what is estimated in it is said."""
    with prometheus() as opened:
        compiled = sli.compiled(opened)
    assert native == compiled.native
    assert estimated in compiled.estimated
    assert compiled.reason


def test_an_exact_quantile_of_a_histogram_is_refused() -> None:
    """A histogram does not hold its observations; the refusal says what comes nearest."""
    with prometheus() as opened, pytest.raises(NotExpressible, match="not the observations") as caught:
        SLI.latency_quantile("l", metric="latency").compiled(opened, exact=True)
    assert "without exact" in caught.value.nearest


def test_a_group_without_anything_to_divide_by_has_no_value() -> None:
    """A ratio of something over nothing is missing, not infinite, beside a group that has one."""
    result = [{"metric": {"job": job}, "value": [NOW, value]} for job, value in (("a", "+Inf"), ("b", "0.5"))]
    body = {"status": "success", "data": {"resultType": "vector", "result": result}}
    with serve(lambda request: reply(request, 200, json.dumps(body).encode())) as url, source(url) as opened:
        frame = SLI.error_ratio("e", bad="errors", total="requests", by=["job"]).measure(opened)
    assert [{"job": "a"}, {"job": "b"}] == list(frame.labels)
    np.testing.assert_array_equal([[math.nan, 0.5]], frame.values)
    assert ["1 of 2 values are missing: no samples, or nothing to divide by"] == frame.warnings


# ------------------------------------------------------------------------------------------------ answers as they come


def compact(body: Any) -> bytes:
    """JSON as Prometheus writes it."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def matrix(series: Iterable[tuple[dict[str, str], Sequence[tuple[float, str]]]], **more: Any) -> dict[str, Any]:
    """A successful answer to a range query."""
    result = [{"metric": labels, "values": [[time, value] for time, value in points]} for labels, points in series]
    return {"status": "success", "data": {"resultType": "matrix", "result": result}, **more}


def taken(content: bytes, sizes: Sequence[int] = (), most: int = 10**9) -> dict[str, Any]:
    """What an answer is that comes in pieces of these sizes, again and again."""
    body, at, number = Body(most), 0, 0
    while at < len(content):
        size = sizes[number % len(sizes)] if sizes else len(content)
        assert body(content[at : at + size])
        at, number = at + size, number + 1
    return body.finish()


def plain(result: Result) -> list[tuple[Any, list[int], list[str]]]:
    """Everything of a result that can be compared, NaN and -0 too."""
    return [(one.labels, one.times.tolist(), [value.hex() for value in one.values.tolist()]) for one in result]


def written(value: float) -> str:
    """A number as Go writes it."""
    return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(repr(value), repr(value))


LABELS = some.dictionaries(TEXT | some.sampled_from(["value", "values", "__name__", "metric"]), TEXT | some.sampled_from(
    ['"values":[[1,"2"]]', '},"values":[[', "]]}", '{"metric":{', "value"]
), max_size=3)  # fmt: skip
STAMPS = some.integers(0, 4_000_000_000_000).map(lambda time: time / 1000 if time % 1000 else time // 1000)
POINTS = some.lists(some.tuples(STAMPS, NUMBERS.map(written)), min_size=1, max_size=9)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """The columns of digits are used for the shortest series too."""
    monkeypatch.setattr("sretoolkit.metrics.sources._prometheus_body._MANY", 0)


@pytest.mark.usefixtures("eager")
def test_reading_as_it_comes_gives_what_json_gives() -> None:
    """Whatever labels and numbers there are and however the answer is cut, the samples are those of the JSON library."""

    @given(
        some.lists(some.tuples(LABELS, POINTS), max_size=4), some.lists(some.integers(1, 300), min_size=1, max_size=4)
    )
    def check(series: list[tuple[dict[str, str], list[tuple[float, str]]]], sizes: list[int]) -> None:
        body = matrix(series)
        expected = Result([], body)
        for content in (compact(body), json.dumps(body).encode(), compact({**body, "warnings": ["w"]})):
            assert plain(expected) == plain(taken(content, sizes)["data"]["result"])

    check()


@pytest.mark.usefixtures("eager")
def test_even_times_and_columns_of_digits_give_what_json_gives() -> None:
    """Series with the same times, of the usual short numbers, take the fast path; the result is the same to the last bit."""

    @given(some.lists(some.lists(NUMBERS.map(written), min_size=20, max_size=20), min_size=1, max_size=4), STAMPS)
    def check(columns: list[list[str]], first: float) -> None:
        series = [
            ({"n": str(number)}, [(first + 15 * row, value) for row, value in enumerate(column)])
            for number, column in enumerate(columns)
        ]
        body = matrix(series)
        assert plain(Result([], body)) == plain(taken(compact(body), [7, 100])["data"]["result"])

    check()


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "values",
    [
        '[[1,"2"]],"histograms":[[2,{"count":"3","buckets":[[0,"1","2","3"]]}]]',
        '[[1,"2"]] ',
        '[[1,"\\u0032"]]',
        '[[1,"2"],[2 ,"3"]]',
        '[[1,"2"],[2,"3"]],"values":[[5,"6"]]',
        '[[1,"2"],[-2,"3"],[1e3,"4"]]',
    ],
)
def test_what_is_written_otherwise_is_read_all_the_same(values: str) -> None:
    """Histograms beside values, blanks, escapes, a repeated key and odd times give what the JSON library makes of them."""
    text = '{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":%s}]}}'
    content = (text % values).encode()
    expected = Result([], json.loads(content))
    found = taken(content, [3])["data"]["result"]
    assert (plain(expected), expected.has_histograms) == (plain(found), found.has_histograms)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("cut", [2, 3, 4, 5, 20, 60, 100, 130])
@pytest.mark.parametrize("more", ["", "]", "}", ",{}", "x"])
def test_a_cut_or_broken_answer_is_none(cut: int, more: str) -> None:
    """An answer without its end, or with something else there, is never taken for a whole one."""
    content = compact(matrix([({"a": "b"}, [(1, "2"), (2, "3")]), ({"a": "c"}, [(1, "2"), (2, "3")])]))
    with pytest.raises(ValueError, match=r"."):
        taken(content[:-cut] + more.encode(), [50])


def test_a_comma_without_a_series_after_it_is_none() -> None:
    """A list that goes on and does not is broken JSON, though each of its series is whole."""
    content = compact(matrix([({"a": "b"}, [(1, "2")])])).replace(b"]]}]", b"]]},]")
    with pytest.raises(ValueError, match="Expecting value"):
        taken(content)


def test_more_than_the_source_may_bring_is_cut_off() -> None:
    """An answer with more samples than the limit is given up while it comes, with what to do."""
    series = [({"n": str(number)}, [(NOW - 60 + second, "1") for second in range(60)]) for number in range(100)]
    with serve(lambda request: reply(request, 200, compact(matrix(series)))) as url:
        with (
            source(url, most_samples=1000) as opened,
            pytest.raises(TooCostly, match="more than 1,000 samples") as caught,
        ):
            opened.range("x", window=timedelta(seconds=59), step=timedelta(seconds=1))
        assert "aggregate" in caught.value.hint


def test_a_long_range_is_counted_first() -> None:
    """Of more than 1000 moments the series are counted at the end, and what would be too much is never asked."""
    paths = []

    def handle(request: BaseHTTPRequestHandler) -> None:
        paths.append(request.path)
        result = [{"metric": {}, "value": [NOW, "100000"]}]
        reply(request, 200, compact({"status": "success", "data": {"resultType": "vector", "result": result}}))

    with serve(handle) as url, source(url) as opened, pytest.raises(TooCostly, match="500,100,000 samples"):
        opened.range("x", window=timedelta(seconds=5000), step=timedelta(seconds=1))
    assert ["/api/v1/query"] == paths


@pytest.mark.parametrize("broken", [False, True])
def test_a_large_range_is_asked_for_in_parts(*, broken: bool) -> None:
    """Two parts give what one would; one of them that fails is the whole range's failure."""
    asked = []

    def handle(request: BaseHTTPRequestHandler) -> None:
        form = parse_qs(request.rfile.read(int(request.headers["Content-Length"])).decode())
        if "start" not in form:  # the series are counted
            result = [{"metric": {}, "value": [NOW, "1000"]}]
            reply(request, 200, compact({"status": "success", "data": {"resultType": "vector", "result": result}}))
            return
        start, end = (int(float(form[name][0])) for name in ("start", "end"))
        asked.append((start, end))
        if broken and end == NOW:
            reply(request, 422, compact({"status": "error", "errorType": "execution", "error": "it broke"}))
            return
        series = [({"n": "1"}, [(second, str(second - NOW)) for second in range(start, end + 1)])]
        reply(request, 200, compact(matrix(series)))

    with serve(handle) as url, source(url) as opened:
        if broken:
            with pytest.raises(QueryError, match="it broke"):
                opened.range("x", window=timedelta(seconds=1999), step=timedelta(seconds=1))
        else:
            frame = opened.range("x", window=timedelta(seconds=1999), step=timedelta(seconds=1))
            assert list(range(-1999, 1)) == frame.values[:, 0].tolist()
    assert [(NOW - 1999, NOW - 1000), (NOW - 999, NOW)] == sorted(asked)


def test_the_garbage_collector_comes_back() -> None:
    """It pauses while answers are parsed, also within one another, and goes on afterwards unless it was off before."""
    import gc

    assert gc.isenabled()
    with uncollected():
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


# ------------------------------------------------------------------------------------------------ raw samples


class Bits:
    """Writes a chunk as Prometheus does, bit by bit (tsdb/docs/format/chunks.md), from its description."""

    def __init__(self) -> None:
        self.bits: list[int] = []

    def put(self, number: int, size: int) -> None:
        """The lowest ``size`` bits."""
        self.bits += [number >> place & 1 for place in range(size - 1, -1, -1)]

    def varint(self, number: int) -> None:
        """A whole number, seven bits a byte."""
        while number > 127:
            self.put(number & 127 | 128, 8)
            number >>= 7
        self.put(number, 8)

    def bytes(self) -> bytes:
        """All of it, filled up to whole bytes."""
        padded = self.bits + [0] * (-len(self.bits) % 8)
        return bytes(int("".join(map(str, padded[at : at + 8])), 2) for at in range(0, len(padded), 8))


def chunk(samples: Sequence[tuple[int, float]]) -> bytes:
    """Samples as one compressed chunk."""
    out, delta, before, window = Bits(), 0, 0, (64, 0)
    for number, (time, value) in enumerate(samples):
        word = struct.unpack(">Q", struct.pack(">d", value))[0]
        if number == 0:
            out.varint(time << 1 if time >= 0 else ~(time << 1))
            out.put(word, 64)
        else:
            step = time - samples[number - 1][0]
            if number == 1:
                out.varint(step)
            else:
                put_difference(out, step - delta)
            delta = step
            window = put_change(out, word ^ before, window)
        before = word
    return len(samples).to_bytes(2, "big") + out.bytes()


def put_difference(out: Bits, difference: int) -> None:
    """The difference of two steps, in the shortest form that holds it."""
    if difference == 0:
        return out.put(0, 1)
    for prefix, length, size in ((0b10, 2, 14), (0b110, 3, 17), (0b1110, 4, 20)):
        if -((1 << (size - 1)) - 1) <= difference <= 1 << (size - 1):
            out.put(prefix, length)
            return out.put(difference & (1 << size) - 1, size)
    out.put(0b1111, 4)
    return out.put(difference & (1 << 64) - 1, 64)


def put_change(out: Bits, change: int, window: tuple[int, int]) -> tuple[int, int]:
    """The changed bits, in the window of before where they fit."""
    if change == 0:
        out.put(0, 1)
        return window
    leading, trailing = min(31, 64 - change.bit_length()), (change & -change).bit_length() - 1
    if window[0] < 64 and leading >= window[0] and trailing >= window[1]:
        out.put(0b10, 2)
        out.put(change >> window[1], 64 - window[0] - window[1])
        return window
    size = 64 - leading - trailing
    out.put(0b11, 2)
    out.put(leading, 5)
    out.put(size & 63, 6)
    out.put(change >> trailing, size)
    return leading, trailing


STEPS = some.integers(1, 100_000) | some.just(15_000) | some.integers(1, 10**9)
CHUNKS = some.lists(some.tuples(some.integers(-(10**6), 4 * 10**12), some.lists(some.tuples(STEPS, NUMBERS), min_size=1,
                    max_size=12)), min_size=1, max_size=5)  # fmt: skip


def samples_of(first: int, steps: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Samples from a first time and what follows."""
    found, time = [], first
    for step, value in steps:
        found.append((time, value))
        time += step
    return found


@given(CHUNKS)
def test_chunks_are_read_as_they_were_written(given_: list[tuple[int, list[tuple[int, float]]]]) -> None:
    """Chunks of any lengths, read side by side, give every time and value to the last bit."""
    series = [samples_of(first, steps) for first, steps in given_]
    times, values, counts = decoded([chunk(samples) for samples in series])
    flat = [sample for samples in series for sample in samples]
    assert [len(samples) for samples in series] == counts.tolist()
    assert [time for time, _ in flat] == times.tolist()
    assert [struct.pack("d", value) for _, value in flat] == [struct.pack("d", value) for value in values.tolist()]


@pytest.mark.parametrize("damage", [lambda content: content[:20], lambda content: b"\xff\xff" + content[2:]])
def test_a_damaged_chunk_is_noticed(damage: Any) -> None:
    """A chunk that is cut off, or claims more samples than it has bits for, is an error."""
    whole = chunk([(1000 * number, math.sqrt(number)) for number in range(100)])
    with pytest.raises(ValueError, match="chunk of samples"):
        decoded([damage(whole)])


def message(samples: Sequence[tuple[int, float]], *, labels: dict[str, str]) -> bytes:
    """A time series as remote read writes it."""
    content = b"".join(field(1, field(1, name.encode()) + field(2, value.encode())) for name, value in labels.items())
    for time, value in samples:
        bits = struct.pack("<d", value)
        content += field(2, (b"\x09" + bits if bits != bytes(8) else b"") + field(2, time))
    return content


def answer(*series: bytes) -> bytes:
    """A packed answer of remote read."""
    return protobuf.packed(field(1, b"".join(field(1, one) for one in series)))


@given(some.lists(some.tuples(some.integers(0, 4 * 10**12), NUMBERS | some.just(0.0)), min_size=1, max_size=9))
def test_samples_are_read_with_zeros_among_them(samples: list[tuple[int, float]]) -> None:
    """A value of 0 is left out of its message and breaks the even stride; it is read as 0 all the same."""
    (found,) = protobuf.sampled(answer(message(samples, labels={"a": "é"})))
    assert found is not None
    assert (("a", "é"),) == found.labels
    assert [time for time, _ in samples] == found.times.tolist()
    assert [value.hex() for _, value in samples] == [value.hex() for value in found.values.tolist()]


@given(some.binary(max_size=300), some.integers(0, 70_000))
def test_packing_is_undone(content: bytes, more: int) -> None:
    """What we pack is unpacked to the same."""
    content += bytes(more)
    assert content == protobuf.unpacked(protobuf.packed(content))


@pytest.mark.parametrize(
    ("block", "content"),
    [
        (b"\x05\x10abcde", b"abcde"),
        (b"\x09\x08abc\x09\x03", b"abcabcabc"),  # a copy that overlaps itself, short form
        (b"\x0a\x04ab\x1e\x02\x00", b"ab" * 5),  # the same, two bytes of distance
        (b"\x08\x0cabcd\x0f\x04\x00\x00\x00", b"abcdabcd"),  # four bytes of distance
    ],
)
def test_copies_are_unpacked(block: bytes, content: bytes) -> None:
    """Each form of a copy, written by hand from the description of the format, gives the text that it stands for."""
    assert content == protobuf.unpacked(block)


@pytest.mark.parametrize(
    "block",
    [b"\x05\x10abcd", b"\x09\x08abc\x09\x04", b"\x09\x08abc\x09\x00", b"\x05\x10abcdef", b"\x08\x0cabcd\x0f", b"\xff"],
)
def test_a_damaged_block_is_noticed(block: bytes) -> None:
    """Cut off, too long, or with a copy of what is not there: an error, never other samples."""
    with pytest.raises((ValueError, IndexError)):
        protobuf.unpacked(block)


def raw(handle: Any, **options: Any) -> Any:
    """The raw samples of a quarter of an hour from a server that behaves like that when it is asked for them."""

    def both(request: BaseHTTPRequestHandler) -> None:
        config = {"status": "success", "data": {"yaml": "global:\n  scrape_interval: 15s\nscrape_configs: []\n"}}
        reply(request, 200, compact(config)) if request.path == "/api/v1/status/config" else handle(request)

    with serve(both) as url, source(url, **options) as opened:
        return opened.raw(Selector("x"), (NOW - 900) * 1000, NOW * 1000)  # type: ignore[attr-defined]


def streamed(*frames: bytes, cut: int = 0) -> Any:
    """A server that streams these frames."""
    content = b"".join(varint(len(frame)) + b"\0\0\0\0" + frame for frame in frames)
    content = content[: len(content) - cut]
    kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
    return lambda request: reply(request, 200, content, kind)


def frame(samples: Sequence[tuple[int, float]], kind: int = 1) -> bytes:
    """A frame with one chunk of the series ``x``."""
    label = field(1, field(1, b"__name__") + field(2, b"x"))
    return field(1, label + field(2, field(1, 1) + field(2, 2) + field(3, kind) + field(4, chunk(samples))))


def test_frames_of_one_series_are_joined_and_trimmed() -> None:
    """A series in several frames is one; what lies outside, at the open start, and marks of an end are left out."""
    stale = struct.unpack("<d", bytes.fromhex("02000000 0000f07f"))[0]
    first = [((NOW - 900) * 1000 + 300_000 * number, float(number)) for number in (-1, 0, 1)]
    second = [((NOW - 300) * 1000, 2.0), (NOW * 1000 - 1, stale), (NOW * 1000, 3.0), (NOW * 1000 + 1, 4.0)]
    (found,) = raw(streamed(frame(first), frame(second)))
    assert {"__name__": "x"} == found.labels
    assert [(NOW - 600) * 1000, (NOW - 300) * 1000, NOW * 1000] == found.times.tolist()
    assert [1.0, 2.0, 3.0] == found.values.tolist()


ENDLESS = b"\xff" * 9 + b"\x01"


@pytest.mark.parametrize(
    ("handle", "error", "says"),
    [
        (streamed(frame([(NOW * 1000, 1.0)]), cut=1), SourceUnavailable, "breaks off in the middle"),
        (streamed(frame([(NOW * 1000, 1.0)], kind=2)), QueryError, "native histograms"),
        (streamed(b"\x0a\x05abc"), SourceUnavailable, "cannot be read"),
        (lambda request: reply(request, 200, b"\xff\xff", "application/x-protobuf"), SourceUnavailable, "cannot be read"),
        (lambda request: reply(request, 200, ENDLESS, "application/x-streamed-protobuf"), SourceUnavailable, "without end"),
        (lambda request: reply(request, 500, b"", "text/plain"), SourceUnavailable, "HTTP 500"),
    ],
)  # fmt: skip
def test_raw_samples_that_cannot_be_read_are_an_error(handle: Any, error: type[Exception], says: str) -> None:
    """Cut off, damaged, of another type or endless: it is said, and never fewer samples."""
    with pytest.raises(error, match=says):
        raw(handle)


def test_too_many_raw_samples_are_cut_off() -> None:
    """More raw samples than the source may bring are refused with what to do."""
    samples = [((NOW - 800) * 1000 + number * 1000, 1.0) for number in range(700)]
    with pytest.raises(TooCostly, match="more than 100 raw samples"):
        raw(streamed(frame(samples)), most_samples=100)


def test_a_server_without_remote_read_is_asked_for_a_range_of_samples() -> None:
    """Without a configuration remote read's labels are in doubt; without an export too, PromQL gives the samples."""
    paths = []

    def handle(request: BaseHTTPRequestHandler) -> None:
        paths.append(request.path)
        if request.path != "/api/v1/query":
            return reply(request, 404, b"not here", "text/plain")
        return reply(request, 200, compact(matrix([({"a": "b"}, [(NOW - 900, "1"), (NOW - 1, "2"), (NOW, "0")])])))

    with serve(handle) as url, source(url) as opened:
        for _ in range(2):
            (found,) = opened.raw(Selector("x"), (NOW - 900) * 1000, NOW * 1000)  # type: ignore[attr-defined]
    assert ([(NOW - 1) * 1000, NOW * 1000], [2.0, 0.0]) == (found.times.tolist(), found.values.tolist())
    assert ["/api/v1/status/config", "/api/v1/export", "/api/v1/query", "/api/v1/query"] == paths
