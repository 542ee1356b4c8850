"""When something came to be at Modal, as its id says.

Modal's ids of calls (``fc-``) and containers (``ta-``) are ULIDs: their first ten characters are
the milliseconds since 1970 (https://github.com/ulid/spec). Modal documents none of this. It was
seen in ids that were published together with the time (2026-11-23):

    ta-01KYQX24W4D7NW306JQ5D98X7S   .660 of the second that ``TaskInfo.enqueued_at`` gave; and
    ta-01KYQX2WEK8T065MFN98455J9S   .803 likewise (fixtures of cartography, captured with 1.5.3)
    fc-01KZTKXM6C4N65HCPCPQTG099K   2.6 s before its container ta-01KZTKXPPTK9QNBG2VY5YKB19R,
                                    15 s before the function's first line (a public run record)

So an id is believed only where its stamp lies close before a stamp that Modal did state.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_DIGITS = {digit: value for value, digit in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}
_LONGEST = timedelta(days=30)  # a random id passes once in a hundred thousand
_SKEW = timedelta(seconds=5)  # between two of their machines


def stamp_of(identifier: str | None, before: datetime | None) -> datetime | None:
    """The moment in an id; None where it is no ULID of a time shortly before ``before``."""
    if identifier is None or before is None:
        return None
    text = identifier.partition("-")[2].upper()
    if len(text) != 26 or any(digit not in _DIGITS for digit in text):
        return None
    milliseconds = 0
    for digit in text[:10]:
        milliseconds = milliseconds * 32 + _DIGITS[digit]
    if milliseconds >= 1 << 42:  # past the year 2100: no time of ours, and too much for datetime
        return None
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment if before - _LONGEST <= moment <= before + _SKEW else None
