"""What ``gateway prices explain`` and ``gateway reprice`` print: costs computed again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from gateway.accounting.explain import explained
from gateway.cli.options import instant
from gateway.cli.output import Column, field, print_line, print_report, print_rows
from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.reading.attempts import attempts_of, corrections_of, ended_attempts
from gateway.ledger.writing.correcting import catch_up, correct
from gateway.pricebook.configured import price_book
from gateway.pricebook.repricing import Repricing, left_as_they_are
from gateway.settings import ConfigError, Settings

REASON = "repriced"


def show_explanation(data_dir: Path, id_: str, form: str) -> bool:
    """Each attempt's cost, computed again. False when one is not what was booked."""
    rows = attempts_of(data_dir, id_)
    if not rows:
        raise ConfigError(f"there is no attempt or operation {id_!r} in the ledger's database")
    found = [
        {**explained(row), "corrections": corrections_of(data_dir, row.attempt_id)} for row in rows
    ]

    def show() -> None:
        for one in found:
            _print_explanation(one)

    print_report(form, found, [row for one in found for row in _line_rows(one)], show)
    return all(one["agrees"] is not False for one in found)


def _line_rows(one: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of one attempt, each with what is said of the whole; one without lines is one."""
    names = ("operation_id", "attempt_id", "deployment", "provider", "status", "cost_status")
    whole = {name: one[name] for name in names}
    whole |= {name: one[name] for name in ("booked_usd", "recomputed_usd", "agrees")}
    lines: list[dict[str, Any]] = one["lines"] or [{}]
    return [{**whole, **{f"line_{name}": line[name] for name in line}} for line in lines]


def _print_explanation(one: dict[str, Any]) -> None:
    booked = _usd(one["booked_usd"])
    print_line(
        f"{one['attempt_id']} of {one['operation_id']}: {one['deployment']} at {one['provider']}, "
        f"{one['status']}, cost {booked} ({one['cost_status']})"
    )
    price = one["price"]
    if price is not None:
        print_line(
            f"price {price['name']}, from {price['effective_from']}, "
            f"checked {price['checked_on']}, source {price['source']}"
        )
        if price.get("note"):
            print_line(f"note  {price['note']}")
    if one["lines"]:
        print_rows(one["lines"], _LINE, "table", ("price row", "from", "rule", "status"))
    verdict = {True: "agrees with", False: "DIFFERS from", None: "cannot be held against"}
    print_line(
        f"Computed again: {_usd(one['recomputed_usd'])}, which {verdict[one['agrees']]} "
        f"the booked {booked}. {one['why']}"
    )
    if one["pending"]:
        print_line(f"Not in it, because it comes later: {', '.join(one['pending'])}")
    for change in one["corrections"]:
        was = (change["old"] or {}).get("cost_lines")
        print_line(f"Corrected {change['at']} ({change['reason']}); before: {_sum(was)}")


def _usd(text: str | None) -> str:
    return "unknown" if text is None else f"{text} USD"


def _sum(lines: list[dict[str, Any]] | None) -> str:
    said = [f"{line['kind']} {_usd(line['usd'])}" for line in lines or ()]
    return ", ".join(said) or "no lines"


_LINE: list[Column] = [
    ("line", field("kind")),
    ("quantity", field("quantity")),
    ("from", field("quantity_from")),
    ("x price of one", field("unit_price_usd")),
    ("= USD", field("usd")),
    ("booked", field("booked_usd")),
    ("status", field("status")),
    ("rule", field("rule")),
    ("price row", field("price_id")),
]


def show_repricing(
    settings: Settings,
    since: str,
    until: str | None,
    where: dict[str, str | None],
    *,
    apply: bool,
    form: str,
) -> None:
    """Differences by deployment and price; with ``apply`` they are written as corrections."""
    data_dir = settings.server.data_dir
    now_us = time.time_ns() // 1000
    since_us, until_us = _micros(since, "--since"), now_us + 1
    if until is not None:
        until_us = _micros(until, "--until")
    repricing = Repricing(settings, price_book(settings))
    corrected, shown = 0, True
    try:
        if apply:
            catch_up(data_dir)  # a correction that is still under way must not be made again
        changes = repricing.changes(ended_attempts(data_dir, since_us, until_us, **where))
        if apply:
            corrected = correct(
                data_dir,
                changes,
                at_us=now_us,
                reason=REASON,
                rotate_bytes=settings.journal.rotate_bytes,
            )
            shown = _caught_up(data_dir)
        else:
            for _ in changes:
                pass
    except LedgerUnavailable as error:
        raise ConfigError(f"the ledger cannot be corrected: {error}") from error
    rows = [one.json(*which) for which, one in sorted(repricing.sums.items())]
    left = left_as_they_are(repricing.left)
    if form != "table":
        told = {"applied": apply, "corrected": corrected, "data": rows, "left": left}
        print_report(form, told, rows, lambda: None)
        return
    print_rows(rows, _REPRICED, "table", _LEAVE_OUT)
    for one in left:
        print_line(f"{one['attempts']} attempts stay as they are: {one['because']}.")
    changed = sum(row["changed"] for row in rows)
    if apply:
        print_line(f"{corrected} attempts were corrected; their old figures are kept.")
        if not shown:
            print_line("They are in the journal; the database is behind and will follow.")
    elif changed:
        print_line(f"{changed} attempts differ; --apply corrects them.")
    else:
        print_line("Nothing differs.")


def _caught_up(data_dir: Path) -> bool:
    """Whether the database has the corrections too; in the journal they are in any case."""
    try:
        catch_up(data_dir)
    except LedgerUnavailable:
        return False
    return True


def _micros(text: str, option: str) -> int:
    return round(instant(text, option).timestamp() * 1e6)


_LEAVE_OUT = ("price today", "unknown still", "unknown then", "booked USD", "attempts")
_REPRICED: list[Column] = [
    ("deployment", field("deployment")),
    ("price today", field("price")),
    ("attempts", field("attempts")),
    ("differ", field("changed")),
    ("booked USD", field("booked_usd")),
    ("unknown then", field("booked_unknown")),
    ("today USD", field("now_usd")),
    ("unknown still", field("now_unknown")),
    ("difference of the known", field("difference_usd")),
]
