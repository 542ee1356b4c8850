"""What a caller's ``traceparent`` is read as."""

from __future__ import annotations

import pytest

from gateway.tracing import Trace, span_id_of, trace_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f" 00-{TRACE}-{SPAN}-03 ", True),  # flags that we do not know are others' business
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"01-{TRACE}-{SPAN}-01-more", True),  # a later version may have more to say
    ],
)
def test_a_callers_trace_goes_on(header: str, sampled: bool) -> None:
    assert trace_of({"traceparent": header}) == Trace(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01" * 100,
    ],
)
def test_what_is_none_begins_a_new_one(header: str | None) -> None:
    headers = {} if header is None else {"traceparent": header}
    first, second = trace_of(headers), trace_of(headers)
    assert first.parent_span_id is None and first.sampled
    assert first.trace_id != second.trace_id and TRACE not in (first.trace_id, second.trace_id)
    assert len(first.trace_id) == 32 and int(first.trace_id, 16)


def test_span_ids_follow_from_the_ledgers_ids() -> None:
    assert span_id_of("att_1") == span_id_of("att_1") != span_id_of("att_2")
    assert len(span_id_of("att_1")) == 16 and int(span_id_of("att_1"), 16)
