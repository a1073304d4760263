"""Was the mix of user classes that was asked for the one that came?"""

from collections.abc import Mapping
from math import exp, lgamma, log, log1p, sqrt
from statistics import NormalDist
from typing import Any

PREFIX = "guests of "
CHANCE = 1e-5
"""A mix that comes by chance less often than this is not the one that was asked for."""
LARGE = 1000.0
"""From this variance on a binomial count is as good as normal."""


def count_name(user_class: str) -> str:
    """The plain count of guests of a class, in the intervals of a process."""
    return f"{PREFIX}{user_class}"


def is_mix_count(name: str) -> bool:
    """Whether a plain count is one of these."""
    return name.startswith(PREFIX)


def mix_block(counts: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, Any]:
    """The record's ``mix``: guests that came of each class, and the share asked for if any was."""
    came = {name.removeprefix(PREFIX): n for name, n in counts.items() if is_mix_count(name)}
    return {
        name: {"came": came.get(name, 0), "share_asked_for": shares.get(name)}
        for name in sorted({*came, *shares})
    }


def mix_complaints(block: Mapping[str, Any]) -> list[str]:
    """Why a run is INVALID for its mix; empty where it is within chance."""
    asked = {name: one["share_asked_for"] for name, one in block.items()}
    whole = sum(one["came"] for one in block.values())
    if len(block) < 2 or not whole or None in asked.values():
        return []
    off = [
        f"{name} {block[name]['came']:,} instead of {whole * share:,.0f}"
        for name, share in asked.items()
        if chance_of(block[name]["came"], whole, share) < CHANCE
    ]
    return [f"the mix asked for was not offered: of {whole:,} guests, {', '.join(off)}"] * bool(off)


def chance_of(count: int, whole: int, share: float) -> float:
    """How probable a count as far off as this one is, on its side, among independent draws."""
    if not 0 < share < 1:
        return 1.0 if count == whole * share else 0.0
    mean, variance = whole * share, whole * share * (1 - share)
    if variance > LARGE:
        return 2 * NormalDist().cdf(-max(0.0, abs(count - mean) - 0.5) / sqrt(variance))
    far = range(count + 1) if count < mean else range(count, whole + 1)
    return min(1.0, 2 * sum(_binomial(k, whole, share) for k in far))


def _binomial(k: int, n: int, p: float) -> float:
    ways = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
    return exp(ways + k * log(p) + (n - k) * log1p(-p))
