"""Buckets that fill by the second, and how many of them there are at most."""

from __future__ import annotations

from sretoolkit.server.entrance import own_path
from sretoolkit.server.limits import Limits, Rate


def test_a_bucket_gives_what_is_in_it_and_fills_by_the_second() -> None:
    """Three at once, then one a second; who waits is told how long."""
    limits, rate = Limits(), Rate(3, 60)
    assert [0, 0, 0, 1.0] == [limits.wait("ann", rate, now=10.0) for _ in range(4)]
    assert [0, 0.5] == [limits.wait("ann", rate, now=now) for now in (11.0, 11.5)]
    assert 0 == limits.wait("ben", rate, now=11.5)


def test_memory_is_bounded() -> None:
    """The bucket that was used longest ago is forgotten, however many names somebody thinks of."""
    limits = Limits(most=100)
    for number in range(1000):
        limits.wait(f"name {number}", Rate(1, 1), now=0.0)
    assert 100 == len(limits)


def test_only_paths_of_ours_are_gone_to() -> None:
    """Everything else leads to the first page."""
    assert ["/runs/1?a=b", "/", "/", "/", "/"] == [
        own_path(text) for text in ("/runs/1?a=b", "//evil.example", "/\\evil.example", "https://evil.example", "")
    ]
