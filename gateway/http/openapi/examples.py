"""What requests and answers look like; tests hold each against its schema."""

from __future__ import annotations

from typing import Any

GENERATE: dict[str, Any] = {
    "model": "smollm2",
    "input": "Why is the sky blue?",
    "parameters": {"max_output_tokens": 64},
    "tags": {"team": "search"},
}
CHAT: dict[str, Any] = {
    "model": "smollm2",
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
    "max_completion_tokens": 64,
    "metadata": {"team": "search"},
}
NEW_KEY: dict[str, Any] = {
    "name": "search",
    "scopes": ["generate"],
    "expires_at": "2027-01-01T00:00:00Z",
    "budgets": [{"limit_usd": "10.00", "per": "day"}],
}
ROTATION: dict[str, Any] = {"grace_seconds": 86_400}
_LINES: list[dict[str, Any]] = [
    {
        "kind": "execute_seconds",
        "quantity": "0.31",
        "unit_price_usd": "0.0001",
        "usd": "0.000031",
        "price_id": "local-cpu@2026-11-01",
        "status": "measured",
    },
    {
        "kind": "boot_seconds",
        "quantity": "0.62",
        "unit_price_usd": "0.0001",
        "usd": "0.000062",
        "price_id": "local-cpu@2026-11-01",
        "status": "measured",
    },
]
OPERATION: dict[str, Any] = {
    "id": "gen_066133254e9481143593f6",
    "model": "smollm2",
    "provider": "local",
    "deployment": "local-smollm2",
    "created_at": "2026-11-26T19:42:41.857Z",
    "status": "succeeded",
    "output": [{"type": "text", "text": "It scatters."}],
    "finish_reason": "stop",
    "usage": {
        "input_tokens": 36,
        "output_tokens": 40,
        "cached_input_tokens": None,
        "source": "reported",
        "sources": {"input_tokens": "reported", "output_tokens": "reported"},
    },
    "cost": {
        "total_usd": "0.000093",
        "known_usd": "0.000093",
        "status": "measured",
        "range_usd": None,
        "pending": ["idle"],
        "lines": _LINES,
    },
    "timing": {
        "queue_seconds": None,
        "boot_seconds": 0.62,
        "wait_seconds": 0.62,
        "first_output_seconds": 0.71,
        "execute_seconds": 0.31,
        "gateway_seconds": 0.001,
        "total_seconds": 0.95,
    },
    "cold_start": {
        "verdict": "cold",
        "evidence": "process_started",
        "caused_boot": True,
        "boot_seconds": 0.62,
        "idle_before_seconds": None,
    },
    "attempts": [
        {
            "id": "att_066133254e94e430ebc6d0",
            "deployment": "local-smollm2",
            "status": "succeeded",
            "upstream_id": None,
            "cost_usd": "0.000093",
            "verdict": "cold",
        }
    ],
    "tags": {"team": "search"},
}
COSTS: dict[str, Any] = {
    "data": [
        {
            "group": {"deployment": "local-smollm2"},
            "start_time": "2026-10-27T00:00:00Z",
            "end_time": "2026-11-26T00:00:00Z",
            "attempts": 3,
            "charges": 1,
            "known_usd": "0.000193",
            "measured_usd": "0.000193",
            "estimated_usd": "0",
            "range_usd": {"low": "0.000193", "high": None},
            "unknown_attempts": 1,
            "unknown_charges": 0,
            "lines": [
                {"kind": "boot_seconds", "quantity": "0.93", "usd": "0.000093", "unknown_lines": 0},
                {"kind": "idle", "quantity": "1", "usd": "0.0001", "unknown_lines": 0},
                {"kind": "unpriced", "quantity": None, "usd": None, "unknown_lines": 1},
            ],
        }
    ],
    "next_cursor": None,
}
ERROR: dict[str, Any] = {
    "error": {
        "type": "not_found_error",
        "code": "model_not_found",
        "message": "No model of this name is configured.",
        "param": "model",
        "operation_id": None,
        "retry_after_seconds": None,
        "cost": None,
        "doc_url": None,
    }
}
EVENTS = """id: 1
event: created
data: {"id":"gen_066133254e9481143593f6","model":"smollm2","status":"running"}

id: 2
event: booting
data: {"attempt_id":"att_066133254e94e430ebc6d0","evidence":"process_started","caused_boot":true,\
"expected_seconds":0.6}

id: 3
event: delta
data: {"attempt_id":"att_066133254e94e430ebc6d0","type":"text","text":"It scatters.","index":0}

id: 4
event: finished
data: {"id":"gen_066133254e9481143593f6","status":"succeeded"}
"""
"""``finished`` carries the whole operation; here it is shortened."""
CHUNKS = """data: {"id":"gen_066133254e9481143593f6","object":"chat.completion.chunk",\
"created":1795722161,"model":"smollm2",\
"choices":[{"index":0,"delta":{"role":"assistant","content":"It"},"finish_reason":null}]}

data: [DONE]
"""
METRICS = """# TYPE gateway_operations_running gauge
gateway_operations_running 1.0
"""
