"""Learning rates: positive numbers, or functions of the step, counted from 0."""

import math
from collections.abc import Callable
from typing import TypeAlias

from derive.language.mistakes import called
from derive.training.gradients import within

Schedule: TypeAlias = Callable[[int], float]


@called
def constant(rate: float) -> Schedule:
    """The schedule eta_t = rate."""
    rate = within("rate", rate, 0.0, math.inf, open_below=True)
    return lambda step: rate


@called
def cosine(start: float, steps: int) -> Schedule:
    """The schedule eta_t = start (1 + cos(pi t / steps)) / 2 for t < steps, then 0.

    Source: Loshchilov and Hutter (2017), SGDR, (5), with eta_min = 0 and without restarts.

    >>> [round(cosine(1.0, 4)(step), 3) for step in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    start = within("start", start, 0.0, math.inf, open_below=True)
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"cosine: steps is a whole number of at least 1; got {steps!r}")
    return lambda step: 0.5 * start * (1.0 + math.cos(math.pi * min(step, steps) / steps))


def checked_rate(rate: float | Schedule) -> float | Schedule:
    return rate if callable(rate) else within("rate", rate, 0.0, math.inf, open_below=True)


def rate_at(rate: float | Schedule, step: int) -> float:
    value = rate(step) if callable(rate) else rate
    return within(f"rate at step {step}", value, 0.0, math.inf)
