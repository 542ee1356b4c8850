"""A comparison as one page to mail: no script, nothing loaded from anywhere, light and dark."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from html import escape
from typing import Any, TypeAlias

from gateway.comparison.chart import Dot, scatter
from gateway.comparison.figures import dollars

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2230;--soft:#5b6475;--paper:#fff;--line:#dde1e8;
--dot:#8a94a6;--edge:#2563a8;--best:#0a7d4b;--limit:#b3261e;--tint:#f4f6f9}
@media (prefers-color-scheme:dark){:root{--ink:#e7eaf0;--soft:#a0a9ba;--paper:#14171d;
--line:#2c323d;--dot:#7c879a;--edge:#74aef0;--best:#4cc38a;--limit:#ff8a80;--tint:#1b2028}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1100px;padding:24px 20px 48px;background:var(--paper);
color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.3rem;line-height:1.4;margin:0 0 8px;font-weight:600;text-wrap:pretty}
h2{font-size:1.05rem;margin:32px 0 8px}
p,li{color:var(--soft);font-size:.92rem;margin:4px 0}
ul{padding-left:1.2em}
svg{display:block;max-width:100%;height:auto;margin:16px 0}
.only-narrow,.at{display:none}
.grid{stroke:var(--line)}.limit{stroke:var(--limit);stroke-dasharray:5 4}
.frontier{fill:none;stroke:var(--edge);stroke-width:1.5}
.dot{fill:var(--dot)}.edge{fill:var(--edge)}.best{fill:var(--best)}
text{fill:var(--soft);font-size:12px;font-family:inherit}
.number{fill:var(--ink);font-weight:600}
table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{padding:7px 8px;text-align:right;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--soft);font-weight:500;white-space:nowrap}
th:nth-child(-n+2),td:nth-child(-n+2){text-align:left}
td small{display:block;color:var(--soft)}td:nth-child(2){min-width:15em}
.scroll{overflow-x:auto;max-width:100%}summary{cursor:pointer;margin:24px 0 8px}
tr.cheapest{background:var(--tint)}
tr.cheapest td:nth-child(2) b{color:var(--best)}
.nil{color:var(--soft);opacity:.6}
.unknown{color:var(--soft);font-style:italic}
.key span{white-space:nowrap;margin-right:14px}
.key i{display:inline-block;width:10px;height:10px;border-radius:50%;margin-right:5px}
.key .dot{background:var(--dot)}.key .edge{background:var(--edge)}.key .best{background:var(--best)}
@media (max-width:900px){
body{padding:16px 14px 32px}h1{font-size:1.1rem}
.wide{display:none}.only-narrow{display:block}.at{display:inline}
thead{display:none}table,tbody,tr,td{display:block;width:100%}
tr{border-bottom:1px solid var(--line);padding:10px 8px}
td{border:0;padding:2px 0;text-align:right;display:flex;justify-content:space-between;gap:16px}
td::before{content:attr(data-name);color:var(--soft);flex:none}
td:nth-child(1),td.nil{display:none}td span{text-align:right}
td:nth-child(2){display:block;min-width:0}td:nth-child(2)::before{content:none}
td:nth-child(2) span{text-align:left}
td:nth-child(2) small{margin-bottom:4px}}
"""
Link: TypeAlias = Callable[[dict[str, Any], str], "str | None"]
_COLUMNS = ("#", "candidate", "total", "work", "boots", "idle", "tokens", "own")
WAITS = ("cold", "p50", "p95", "p99")
"""Columns of what callers wait; all other figures are money."""


def page(found: dict[str, Any]) -> str:
    """The whole page, escaped; ``found`` is the comparison as JSON has it."""
    title = escape(f"Where to run {found['model']}")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>{escape(found['sentence'])}</h1>{body(found)}</main></body></html>\n"
    )


def body(found: dict[str, Any], link: Link | None = None) -> str:
    """What stands below the sentence, escaped: drawing, table, what is not known, its basis.

    ``link``: from a candidate and the name of a column to what the figure was computed from.
    """
    candidates = found["candidates"]
    if not found["traffic"]["requests"]:
        return f"{_traffic(found)}<h2>What it rests on</h2>{_list(_basis(found))}"
    dots = [
        Dot(
            number,
            candidate["name"],
            Decimal(candidate["total_usd"]),
            candidate["waits"]["p95_seconds"],
            candidate["on_frontier"],
            candidate["name"] == found["cheapest"],
        )
        for number, candidate in enumerate(candidates, 1)
        if candidate["total_usd"] is not None and candidate["waits"]["p95_seconds"] is not None
    ]
    limit = found["max_wait_p95_seconds"]
    drawing = ""
    if dots:
        drawing = (
            f'<div class="wide">{scatter(dots, 1040, 400, limit)}</div>'
            f'<div class="only-narrow">{scatter(dots, 347, 320, limit)}</div>{_key()}'
        )
    absent = len(candidates) - len(dots)
    if absent:
        drawing += (
            f"<p>Not drawn, since the cost or the wait is unknown: {absent} of "
            f"{len(candidates)} candidates.</p>"
        )
    return (
        f"{_traffic(found)}{drawing}"
        f"<h2>All candidates, cheapest first</h2>{_table(found, link)}"
        f"<h2>Not known</h2>{_list(_unknown(candidates))}"
        f"<details><summary>What it rests on</summary>{_list(_basis(found))}</details>"
    )


def _key() -> str:
    kinds = (
        ("best", "the cheapest"),
        ("edge", "nobody is both cheaper and faster"),
        ("dot", "other"),
    )
    return (
        '<p class="key">'
        + "".join(
            f'<span><i class="{name}"></i>{escape(meaning)}</span>' for name, meaning in kinds
        )
        + "Numbers are those of the table.</p>"
    )


def _traffic(found: dict[str, Any]) -> str:
    traffic = found["traffic"]
    origin = {
        "ledger": "the ledger's requests",
        "trace": "the requests of a trace",
        "what_if": "made-up requests",
    }[traffic["origin"]]
    daily = traffic["requests_per_day"]
    said = f"Model {found['model']}, {origin}"
    if traffic["origin"] == "ledger":
        said += f" from {traffic['start_time'][:10]} to {traffic['end_time'][:10]}"
    if daily is not None:
        said += f", about {daily:,.0f} a day" if daily >= 1 else ", less than one a day"
    return f"<p>{escape(said)}.</p>"


def _table(found: dict[str, Any], link: Link | None) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in (*_COLUMNS, *WAITS))
    rows = []
    for number, candidate in enumerate(found["candidates"], 1):
        waits = candidate["waits"]
        cells = [
            str(number),
            _name(number, candidate),
            _total(candidate["total_usd"], candidate["range_usd"]),
            *(_usd(candidate[f"{part}_usd"]) for part in ("active", "boot", "idle")),
            _both(candidate["tokens_usd"], candidate["other_usd"]),
            _usd(candidate["standing_usd"]),
            _UNKNOWN if waits["cold_rate"] is None else f"{waits['cold_rate'] * 100:.1f} %",
            *(_seconds(waits[f"{name}_seconds"]) for name in ("p50", "p95", "p99")),
        ]
        kind = ' class="cheapest"' if candidate["name"] == found["cheapest"] else ""
        body = "".join(
            f'<td data-name="{escape(name)}"{_faint(name, cell)}>'
            f"<span>{_linked(cell, link and link(candidate, name))}</span></td>"
            for name, cell in zip((*_COLUMNS, *WAITS), cells, strict=True)
        )
        rows.append(f"<tr{kind}>{body}</tr>")
    return (
        '<div class="scroll" role="region" tabindex="0" aria-label="All candidates">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _linked(cell: str, address: str | None) -> str:
    return cell if address is None else f'<a href="{escape(address)}">{cell}</a>'


def _faint(name: str, cell: str) -> str:
    """A part of the cost that is 0 stands back, and gives way where there is little room."""
    return ' class="nil"' if cell == "$0" and name != "total" else ""


_UNKNOWN = '<span class="unknown">unknown</span>'


def _name(number: int, candidate: dict[str, Any]) -> str:
    beside = [candidate["hardware"], candidate["price_id"], candidate["status"]]
    said = escape(" · ".join(text for text in beside if text))
    return (
        f'<b><span class="at">{number}. </span>{escape(candidate["name"])}</b><small>{said}</small>'
    )


def _both(tokens: str | None, other: str | None) -> str:
    if tokens is None or other is None:
        return _UNKNOWN
    return _usd(str(Decimal(tokens) + Decimal(other)))


def _total(total_usd: str | None, span: dict[str, str] | None) -> str:
    """The total, and below it from where to where it may lie, where that is not one figure."""
    said = _usd(total_usd)
    low, high = (None, None) if span is None else (_usd(span["low"]), _usd(span["high"]))
    return said if low == high else f"{said}<small>{low} to {high}</small>"


def _usd(text: str | None) -> str:
    return _UNKNOWN if text is None else dollars(Decimal(text))


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return _UNKNOWN
    return f"{seconds:,.0f} s" if seconds >= 100 else f"{seconds:.3g} s"


def _unknown(candidates: list[dict[str, Any]]) -> list[str]:
    return [
        f"{candidate['name']}: {'; '.join(candidate['unknown'])}"
        for candidate in candidates
        if candidate["unknown"]
    ] or ["Nothing that was asked for."]


def _basis(found: dict[str, Any]) -> list[str]:
    said = []
    for candidate in found["candidates"]:
        execute, boot, keep = candidate["execute"], candidate["boot"], candidate["keep_alive"]
        parts = []
        if execute is not None:
            parts.append(f"{execute['mean_seconds']:g} s a request ({execute['basis']})")
        if boot is not None:
            parts.append(f"boot {boot['seconds']:g} s ({boot['basis']})")
        if keep is not None and keep["seconds"] is not None:
            parts.append(f"kept {keep['seconds']:g} s ({keep['basis']})")
        parts += candidate["notes"]
        if candidate["price_source"] is not None:
            parts.append(f"price: {candidate['price_source']}")
        said.append(f"{candidate['name']}: {'; '.join(parts) or 'nothing'}")
    return [*said, *found["traffic"]["notes"], *found["assumptions"]]


def _list(items: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"
