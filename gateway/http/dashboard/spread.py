"""Cold rate by hour of the day, and how long boots took, each with its table. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from gateway.http.dashboard import charts
from gateway.http.dashboard.behind import Behind, Pair
from gateway.http.dashboard.figures import UNKNOWN, percent, seconds
from gateway.http.dashboard.tables import Column, Link, Row, Table

_SIZES = (charts.WIDE, charts.NARROW)


def section(by_hour: Sequence[Row], time_zone: str, behind: Behind) -> dict[str, Any]:
    """``by_hour``: the report of all groups together, by hour of the day."""
    hours = {row["group"]["hour"]: row for row in by_hour}
    bins = _added(by_hour)
    known = [row for row in by_hour if row["cold_rate"] is not None]
    return {
        "time_zone": time_zone,
        "hours": Table(
            f"By hour of the day ({time_zone})", _hour_columns(behind, time_zone), by_hour
        ),
        "by_hour": [_by_hour(hours, size) for size in _SIZES] if known else [],
        "bins_of_boots": Table("Boots by how long they took", _boot_columns(behind), bins),
        "histogram": [_histogram(bins, size) for size in _SIZES] if bins else [],
    }


def _added(rows: Sequence[Row]) -> list[Row]:
    """The histograms of all rows in one, with the shares up to each bin."""
    counts: Counter[tuple[float, float]] = Counter()
    for row in rows:
        for one in row["boot_seconds"]["histogram"]:
            to = one["to_seconds"]
            counts[one["from_seconds"], float("inf") if to is None else to] += one["count"]
    found, seen, total = [], 0, counts.total()
    for (low, high), count in sorted(counts.items()):
        seen += count
        to = None if high == float("inf") else high
        found.append({"from": low, "to": to, "count": count, "share_up_to": seen / total})
    return found


def _by_hour(hours: dict[int, Row], size: tuple[int, int]) -> charts.Drawing:
    bins, step = [], 2 if size == charts.WIDE else 6
    for hour in range(24):
        row, label = hours.get(hour), f"{hour:02}" if hour % step == 0 else ""
        if row is None or row["cold_rate"] is None:
            bins.append(charts.Bin(None, "cold", "", label))
            continue
        low, high = (row["cold_rate_interval"][edge] for edge in ("low", "high"))
        said = f"{hour:02} h: {percent(row['cold_rate'])} cold, {percent(low)} to {percent(high)}"
        said += f", {row['cold']} of {row['cold'] + row['warm']} with a verdict"
        bins.append(charts.Bin(row["cold_rate"], "cold", said, label, (low, high)))
    title = "Cold rate by hour of the day with its 95 % interval; figures below"
    return charts.columns(title, bins, size, charts.SHARES)


def _histogram(rows: Sequence[Row], size: tuple[int, int]) -> charts.Drawing:
    wide = size == charts.WIDE
    every = 1 if wide else -(-len(rows) // 6)
    bins = []
    for n, row in enumerate(rows):
        label = _edge(row["to"]) if n % every == every - 1 or n == len(rows) - 1 else ""
        said = f"{_range(row)}: {row['count']} boots, {percent(row['share_up_to'])} up to there"
        note = str(row["count"]) if wide and row["count"] else ""
        bins.append(charts.Bin(float(row["count"]), "boot", said, label, note=note))
    most = max(float(row["count"]) for row in rows)
    scale = [(value, f"{value:,g}") for value in charts.round_scale(max(most, 4.0))]
    title = "Boots by how long they took, up to the seconds below; figures below"
    return charts.columns(title, bins, size, scale)


def _range(row: Row) -> str:
    return f"{seconds(row['from'])} to {'the end' if row['to'] is None else seconds(row['to'])}"


def _edge(to: float | None) -> str:
    return "longer" if to is None else f"≤ {seconds(to)}"


def _rate(edge: str) -> Callable[[Row], Any]:
    return lambda row: row["cold_rate_interval"] and row["cold_rate_interval"][edge]


def _hour_columns(behind: Behind, time_zone: str) -> tuple[Column, ...]:
    def of_hour(*more: Pair) -> Link:
        def link(row: Row) -> str | None:
            hour = [("hour", str(row["group"]["hour"])), ("time_zone", time_zone)]
            return behind.ended({}, *hour, *more)

        return link

    def counted(name: str) -> Column:
        more = [] if name == "attempts" else [("verdict", name)]
        return Column(name, lambda row: row[name], link=of_hour(*more))

    judged = of_hour(("verdict", "cold"), ("verdict", "warm"))
    return (
        Column("hour", lambda row: row["group"]["hour"], lambda hour: f"{hour:02}", is_label=True),
        *(counted(name) for name in ("attempts", "cold", "warm", UNKNOWN)),
        Column("cold_rate", lambda row: row["cold_rate"], percent, judged),
        Column("low", _rate("low"), percent, judged),
        Column("high", _rate("high"), percent, judged),
        Column("boots", lambda row: row["boots"], link=of_hour(("caused_boot", "true"))),
    )


def _boot_columns(behind: Behind) -> tuple[Column, ...]:
    def link(low: float, row: Row) -> str | None:
        high = "" if row["to"] is None else f"{row['to']:g}"
        return behind.ended({}, ("sample", "boot"), ("boot_seconds", f"{low:g}..{high}"))

    return (
        Column("from_seconds", lambda row: row["from"], seconds, is_label=True),
        Column("to_seconds", lambda row: row["to"], _until, is_label=True),
        Column("boots", lambda row: row["count"], link=lambda row: link(row["from"], row)),
        Column("share_up_to", lambda row: row["share_up_to"], percent, lambda row: link(0.0, row)),
    )


def _until(to: float | None) -> str:
    return "no end" if to is None else seconds(to)
