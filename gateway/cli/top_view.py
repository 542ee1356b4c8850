"""From what ``gateway top`` has seen to what a terminal shows, narrow or wide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from gateway.http.dashboard.figures import UNKNOWN, percent, usd
from gateway.warmth.standing import LIKELY

WIDE = 130
"""From so many characters on there is room for all columns."""
_MOST_FILLED = 400  # a line in a pipe has no end that could be filled
_STYLES = {"warm": "green", "booting": "yellow", "off": "blue", "paused": "red"}
_MOST_BUDGETS = 8

Show = Callable[[dict[str, Any], datetime], "str | Text"]


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    show: Show
    is_number: bool = False
    share: int | None = None
    """Of the room that the fixed columns leave: for texts that can be cut off."""


class Screen:
    """All of it, as wide as the console that prints it. ``problem``: why it is no longer live."""

    def __init__(self, seen: dict[str, Any], problem: str = "") -> None:
        self._seen, self._problem = seen, problem

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What rich asks for."""
        at = datetime.fromisoformat(self._seen["at"])
        wide = options.max_width >= WIDE
        yield _head(self._seen, at, self._problem)
        yield Text()
        columns = _WIDE if wide else _NARROW
        fill = options.max_width <= _MOST_FILLED
        yield _table(columns, self._seen["deployments"], at, fill=fill)
        budgets = self._seen["budgets"]
        if budgets:
            yield Text()
            yield _table(_BUDGETS, budgets[:_MOST_BUDGETS], at)
            if len(budgets) > _MOST_BUDGETS:
                yield Text(f"and {len(budgets) - _MOST_BUDGETS} budgets more", "dim")


def _head(seen: dict[str, Any], at: datetime, problem: str) -> Text:
    rows = seen["deployments"]
    running, queued = (sum(row[name] for row in rows) for name in ("running", "queued"))
    head = Text(f"{seen['url']}  {at.astimezone():%H:%M:%S}  ", overflow="fold")
    head.append(f"{running} running, {queued} queued", "bold")
    since = min((row["queued_since"] for row in rows if row["queued_since"]), default=None)
    if since is not None:
        waited = (at - datetime.fromisoformat(since)).total_seconds()
        head.append(f", longest {short(waited)}", "bold")
    head.append(f"  rates of the last {seen['minutes']} min", "dim")
    if problem:
        head.append(f"\nNot live: {problem}; trying again.", "bold red")
    return head


def _table(
    columns: Sequence[_Column], rows: Sequence[dict[str, Any]], at: datetime, *, fill: bool = False
) -> Table:
    gap = (0, 2 if columns is not _NARROW else 1, 0, 0)
    made = Table(box=None, header_style="bold", pad_edge=False, padding=gap, expand=fill)
    errors = any(row.get("last_error") for row in rows)  # without any, names get that room
    for column in columns:
        made.add_column(
            column.name,
            justify="right" if column.is_number else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=column.share if fill and (errors or column.show is not _error) else None,
        )
    for row in rows:
        made.add_row(*(column.show(row, at) for column in columns))
    return made


def short(seconds: float) -> str:
    """``252`` as ``4m12s``, in seven characters at most."""
    left = max(0, round(seconds))
    for size, unit, below, rest in ((86_400, "d", "h", 3600), (3600, "h", "m", 60)):
        if left >= size:
            return f"{left // size}{unit}{left % size // rest}{below}"
    return f"{left // 60}m{left % 60:02}s" if left >= 60 else f"{left}s"


def _until(text: str | None, at: datetime) -> str:
    return "" if text is None else short((datetime.fromisoformat(text) - at).total_seconds())


def _state(row: dict[str, Any], at: datetime) -> Text:
    """The word, and how long it is expected to stay true."""
    left = row["booting_left_seconds"]
    more = short(left) if left is not None else _until(row["warm_until"], at)
    shown = _word(row, at)
    timed = more and row["stands"].removeprefix(LIKELY) in ("warm", "booting")
    return shown.append(f" {more}") if timed else shown


def _word(row: dict[str, Any], at: datetime) -> Text:
    state = row["stands"].removeprefix(LIKELY)
    return Text(row["stands"], _STYLES.get(state, ""))


def _seen(row: dict[str, Any], at: datetime) -> str:
    """How long ago its state was seen; what is seen all the time: now."""
    seen = row["last_seen"]
    if seen is None:
        return "never"
    ago = (at - datetime.fromisoformat(seen["at"])).total_seconds()
    return f"{seen['state']} {'now' if ago < 1 else f'{short(ago)} ago'}"


def _left(row: dict[str, Any], at: datetime) -> str:
    left = row["booting_left_seconds"]
    return "" if left is None else short(left)


def _money(row: dict[str, Any], at: datetime) -> str:
    """Known dollars, and a sign where there are costs that nobody knows."""
    more = " +?" if row["unknown_attempts"] and row["usd_per_hour"] is not None else ""
    return usd(row["usd_per_hour"]) + more


def _error(row: dict[str, Any], at: datetime) -> Text:
    found = row["last_error"]
    if found is None:
        return Text("none", "dim")
    ago = (at - datetime.fromisoformat(found["at"])).total_seconds()
    return Text(f"{found['type']} {short(ago)} ago", "red" if ago < 60 else "")


def _cold(row: dict[str, Any], at: datetime) -> str:
    """A rate of no attempts is not unknown: there is none."""
    if row["cold_rate"] is None:
        return UNKNOWN if row["requests_per_minute"] else "-"
    return percent(row["cold_rate"])


def _text(name: str) -> Show:
    return lambda row, at: str(row[name] or "")


def _per_minute(row: dict[str, Any], at: datetime) -> str:
    return f"{row['requests_per_minute']:.3g}"


_FIGURES = (
    _Column("run", lambda row, at: str(row["running"]), True),
    _Column("queue", lambda row, at: str(row["queued"]), True),
    _Column("req/min", _per_minute, True),
    _Column("cold", _cold, True),
    _Column("USD/h", _money, True),
)
_NARROW = (
    _Column("deployment", _text("name"), share=2),
    _Column("state", _state),
    *_FIGURES,
    _Column("last error", _error, share=3),
)
_WIDE = (
    _Column("deployment", _text("name"), share=4),
    _Column("provider", _text("provider"), share=2),
    _Column("their model", _text("provider_model"), share=4),
    _Column("hardware", _text("hardware"), share=2),
    _Column("state", _word),
    _Column("up in", _left, True),
    _Column("warm for", lambda row, at: _until(row["warm_until"], at), True),
    _Column(
        "P(warm)",
        lambda row, at: percent(row["p_warm"]),
        True,
    ),
    _Column("seen", _seen),
    *_FIGURES,
    _Column("last error", _error, share=4),
)
_BUDGETS = (
    _Column("budget", _text("name")),
    _Column("left", lambda row, at: usd(row["left_usd"]), True),
    _Column("of", lambda row, at: usd(row["limit_usd"]), True),
    _Column("per", _text("per")),
    _Column("anew in", lambda row, at: _until(row["end_time"], at) or "never", True),
    _Column("of unknown cost", lambda row, at: _count(row["unknown_attempts"]), True),
)


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)
