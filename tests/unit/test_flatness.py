"""The verdict over a process that runs for long."""

import math
import random

import pytest

from tests.torture.flatness import Sample, judge, take_sample

HOUR_S = 3600


def sample_hour(*, memory: float = 0.0, handles: float = 0.0, threads: float = 0.0) -> list[Sample]:
    """Return an hour of samples of a process that warms up and is busy now and then, and grows so much."""
    mixed = random.Random(1)
    samples = []
    for at_s in range(0, HOUR_S, 5):
        busy = mixed.choice((0, 0, 3, 9))
        warm, part = 60 * (1 - math.exp(-at_s / 300)), at_s / HOUR_S
        samples.append(
            Sample(
                at_s,
                100 + warm + mixed.gauss(0, 3) + memory * part,
                40 + busy + int(handles * part),
                8 + busy // 3 + int(threads * part),
            )
        )
    return samples


@pytest.mark.parametrize(
    ("growth", "leaks"),
    [
        ({}, []),
        ({"memory": 40.0}, ["memory"]),
        ({"handles": 6.0}, ["file handles"]),
        ({"threads": 6.0}, ["threads"]),
    ],
)
def test_a_leak_is_told_from_warm_up_and_noise(growth: dict[str, float], leaks: list[str]) -> None:
    """Warm-up and runs that come and go are flat; what grows in an hour is a leak."""
    assert [each.bound.what for each in judge(sample_hour(**growth)) if not each.flat] == leaks


def test_few_samples_are_no_verdict() -> None:
    """Nobody can tell from a handful of samples."""
    with pytest.raises(ValueError, match="too few"):
        judge(sample_hour()[:6])


def test_a_process_is_sampled() -> None:
    """Our own process holds memory, handles and threads."""
    import os

    sample = take_sample(os.getpid(), 1.0)
    assert sample.memory_mib > 10 and sample.handles >= 3 and sample.threads >= 1
