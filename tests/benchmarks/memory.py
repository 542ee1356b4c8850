"""Resident memory of a new gateway after few requests and after many: does it stay flat?"""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.benchmarks.load import WrongStatus, put_under_load
from tests.benchmarks.rounds import Pace
from tests.benchmarks.targets import Target

_FEW_REQUESTS = 1_000


@dataclass(frozen=True)
class MemoryPoint:
    """Resident bytes of the gateway's process, and of its children, after so many requests."""

    requests: int
    rss_bytes: int
    children_rss_bytes: int


def measure_memory(target: Target, pace: Pace, many_requests: int) -> list[MemoryPoint]:
    """Points at 0, at exactly 1,000 and at ``many_requests`` or the few more that a run adds."""
    points = [_point(target, 0)]
    _send_in_sequence(target, _FEW_REQUESTS)
    points.append(_point(target, _FEW_REQUESTS))
    sent = _FEW_REQUESTS
    while sent < many_requests:
        load = put_under_load(
            pace.wrk,
            target.completion,
            connections=pace.connections,
            duration_seconds=pace.round_seconds,
            scratch=pace.scratch,
        )
        sent += load.requests
    points.append(_point(target, sent))
    return points


def _point(target: Target, requests: int) -> MemoryPoint:
    footprint = target.footprint()
    return MemoryPoint(requests, footprint.rss_bytes, footprint.children_rss_bytes)


def _send_in_sequence(target: Target, count: int) -> None:
    call = target.completion
    url = urlsplit(call.url)
    assert url.hostname is not None
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
    try:
        for _ in range(count):
            connection.request("POST", url.path, body=call.body, headers=dict(call.headers))
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise WrongStatus(call.url, response.status, body)
    finally:
        connection.close()
