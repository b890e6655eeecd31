"""How long and how much, in words: numbers come in, text as exact as an estimate is goes out."""

from __future__ import annotations

MIB, GIB = 2**20, 2**30

SECONDS_PER_MINUTE = MINUTES_PER_HOUR = 60
WORTH_CHANGING = 100
"""Seconds from which on minutes are told, and minutes from which on hours are."""


def duration(seconds: float) -> str:
    """Return a time.

    Examples
    --------
    >>> duration(25.3), duration(130), duration(7300)
    ('25 s', '2 min', '2.0 h')
    """
    if seconds < WORTH_CHANGING:
        return f"{max(seconds, 1.0):.0f} s"
    minutes = seconds / SECONDS_PER_MINUTE
    return f"{minutes:.0f} min" if minutes < WORTH_CHANGING else f"{minutes / MINUTES_PER_HOUR:.1f} h"


def memory(size: float) -> str:
    """Return an amount of memory in bytes.

    Examples
    --------
    >>> memory(3 * GIB / 2), memory(20 * MIB)
    ('1.5 GiB', '20 MiB')
    """
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / MIB:.0f} MiB"
