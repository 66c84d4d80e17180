"""Rates become percentages: the same as `../guest/src/lib.rs`, bit for bit."""

from typing import NamedTuple

from millrace import float32, float64, int64, timestamp, transform_columns


class Stats(NamedTuple):
    driver_id: int64
    event_timestamp: timestamp
    conv_rate: float64 | None
    acc_rate: float64 | None


class Percentages(NamedTuple):
    driver_id: int64
    event_timestamp: timestamp
    conv_percentage: float32 | None
    acc_percentage: float32 | None


def percentages(rates: list[float | None]) -> list[float | None]:
    # Computed in 64 bits; narrowed once, when the column is made.
    return [None if rate is None else rate * 100.0 for rate in rates]


@transform_columns
def driver_stats(events: Stats) -> Percentages:
    return Percentages(
        driver_id=events.driver_id,
        event_timestamp=events.event_timestamp,
        conv_percentage=percentages(events.conv_rate),
        acc_percentage=percentages(events.acc_rate),
    )
