"""What is known of keep-alive and boots, and how good the predictions were: drawings and tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from gateway.http.dashboard import charts
from gateway.http.dashboard.figures import UNKNOWN, ago, percent, seconds, when
from gateway.http.dashboard.over_time import colours
from gateway.http.dashboard.tables import Column, Row, Table

_SIZES = (charts.WIDE, charts.NARROW)


def section(found: Sequence[Row]) -> dict[str, Any]:
    """``found`` is the data of ``/v1/warmth``; deployments with something observed are drawn."""
    curves = [row for row in found if row["keep_alive"]["observed"]]  # others: the prior alone
    tested = [row for row in found if row["calibration"]["predictions"]]
    names = list(dict.fromkeys(row["deployment"] for row in (*curves, *tested)))
    kinds = colours(names)
    return {
        "warmth": Table("What is expected of each deployment now", _NOW, found, in_cards=True),
        "survival": [_survival(curves, kinds, size) for size in _SIZES] if curves else [],
        "reliability": [_reliability(tested, kinds, size) for size in _SIZES] if tested else [],
        "points": Table("Chance to be still warm, by idle time", _POINTS, _points(curves)),
        "quality": Table("How good the predictions were", _QUALITY, tested, in_cards=True),
        "bins": Table("Predictions and what came of them", _BINS, _bins(tested)),
        "kinds": [(kind, name) for name, kind in kinds.items()],
    }


def _survival(rows: Sequence[Row], kinds: dict[str, str], size: tuple[int, int]) -> charts.Drawing:
    series, longest = [], 60.0
    for row in rows:
        points = row["keep_alive"]["curve"]
        joined = [(_log(point["idle_seconds"]), point["p_warm"]) for point in points]
        series.append((kinds[row["deployment"]], joined))
        longest = max([longest, *(point["idle_seconds"] for point in points)])
    room = 0.94 if size == charts.WIDE else 0.8  # the last mark has a long text
    scale = [(_log(at), text) for at, text in _IDLE if _log(at) < room * _log(longest)]
    scale.append((_log(longest), seconds(longest)))
    title = "Chance that a deployment is still warm, by how long it was idle; figures below"
    return charts.curves(title, series, size, scale, charts.SHARES)


def _reliability(
    rows: Sequence[Row], kinds: dict[str, str], size: tuple[int, int]
) -> charts.Drawing:
    series = [
        (
            kinds[row["deployment"]],
            [
                (one["predicted"], one["happened"])
                for one in row["calibration"]["reliability"]
                if one["count"]
            ],
        )
        for row in rows
    ]
    title = "How often it was warm, by the predicted chance; the dashed line is perfect"
    ideal = ("ideal", [(0.0, 0.0), (1.0, 1.0)])
    return charts.curves(title, [ideal, *series], size, charts.SHARES, charts.SHARES)


def _log(idle_seconds: float) -> float:
    """Idle times reach from seconds to days: each tenfold is as wide as the next."""
    return math.log10(max(1.0, idle_seconds))


_IDLE = (
    *((1.0, "1 s"), (10.0, "10 s"), (60.0, "1 min"), (600.0, "10 min")),
    *((3600.0, "1 h"), (21_600.0, "6 h"), (86_400.0, "1 d")),
)


def _points(rows: Sequence[Row]) -> list[Row]:
    return [
        {"deployment": row["deployment"], **point}
        for row in rows
        for point in row["keep_alive"]["curve"]
    ]


def _bins(rows: Sequence[Row]) -> list[Row]:
    return [
        {"deployment": row["deployment"], **one}
        for row in rows
        for one in row["calibration"]["reliability"]
        if one["count"]
    ]


def _text(name: str) -> Column:
    return Column(name, lambda row: row[name], is_number=False)


def _share(name: str) -> Column:
    return Column(name, lambda row: row[name], percent, _behind)


def _edge(name: str, show: Callable[[Any], str]) -> Column:
    return Column(name, lambda row: row[name], show, is_label=True)


def _boot(name: str) -> Column:
    return Column(f"boot_{name}_seconds", lambda row: row["boot_seconds"][name], seconds, _behind)


def _behind(row: Row) -> str:
    return "operations?" + urlencode({"deployment": row["deployment"]})


def _score(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.4f}"


def seen_text(last: dict[str, Any] | None, now: datetime) -> str:
    """What a word rests on, and how old that is."""
    if last is None:
        return "nothing of it was seen yet"
    how = {
        "attempt": "by an attempt",
        "probe": "told by its provider",
        "process": "run by the gateway",
    }
    return f"seen {last['state']} {ago(last['at'], now)}, {how[last['by']]}"


def _last(name: str, show: Callable[[Any], str]) -> Column:
    return Column(
        f"last_seen_{name}",
        lambda row: row["last_seen"] and row["last_seen"][name],
        lambda said: "never" if said is None else show(said),
        is_number=False,
    )


LAST_SEEN = (_last("state", str), _last("by", str), _last("at", when))
_VERDICTS = {
    None: UNKNOWN,
    "too_few": "too few to tell",
    "within_chance": "no more than chance",
    "beyond_chance": "more than chance",
}
_NOW = (
    Column("deployment", lambda row: row["deployment"], link=_behind, is_number=False),
    _text("stands"),
    LAST_SEEN[0],
    LAST_SEEN[2],
    _share("p_warm"),
    Column(
        "keep_alive_p50_seconds", lambda row: row["keep_alive"]["p50_seconds"], seconds, _behind
    ),
    Column("observed", lambda row: row["keep_alive"]["observed"], link=_behind),
    *(_boot(name) for name in ("p50", "p90", "p99")),
)
_QUALITY = (
    _text("deployment"),
    Column("predictions", lambda row: row["calibration"]["predictions"], link=_behind),
    Column("brier_score", lambda row: row["calibration"]["brier_score"], _score, _behind),
    Column("calibration_error", lambda row: row["calibration"]["error"], percent, _behind),
    Column("error_by_chance", lambda row: row["calibration"]["error_by_chance"], percent, _behind),
    Column(
        "verdict",
        lambda row: row["calibration"]["verdict"],
        lambda said: _VERDICTS[said],
        is_number=False,
    ),
)
_POINTS = (
    _text("deployment"),
    _edge("idle_seconds", seconds),
    *(_share(name) for name in ("p_warm", "low", "high")),
    Column("observed", lambda row: row["observed"], link=_behind),
)
_BINS = (
    _text("deployment"),
    *(_edge(name, percent) for name in ("from", "to")),
    Column("count", lambda row: row["count"], link=_behind),
    *(_share(name) for name in ("predicted", "happened", "low", "high")),
)
