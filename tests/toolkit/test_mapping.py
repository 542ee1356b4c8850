"""Callers of another dialect: what is heard already is not refused, what is not heard is."""

from __future__ import annotations

from typing import Any

import pytest

from providers.contract import GenerateRequest, Parameters, RequestRejected
from providers.toolkit.mapping import model_input

RULE = {"prompt": "text", "max_output_tokens": "limit", "stop": "stops"}


def chat(extra: dict[str, Any], **parameters: Any) -> GenerateRequest:
    messages = [{"role": "user", "content": "hi"}]
    return GenerateRequest(
        messages, Parameters(**parameters), dialect="openai_chat", extra={**extra}
    )


def test_what_parameters_show_may_stand_in_extra() -> None:
    extra = {"max_tokens": 7, "stop": "x", "n": 1, "stream_options": {"include_usage": True}}
    made = model_input(dict(RULE), chat(extra, max_output_tokens=7, stop=("x",)))
    assert made == {"text": "hi", "limit": 7, "stops": ["x"]}


@pytest.mark.parametrize("extra", [{"n": 2}, {"tools": []}, {"logit_bias": {}}])
def test_what_nobody_hears_is_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(RequestRejected) as refused:
        model_input(dict(RULE), chat(extra))
    assert refused.value.param == next(iter(extra))


def test_a_parameter_without_a_name_is_refused_however_it_came() -> None:
    with pytest.raises(RequestRejected) as refused:
        model_input(dict(RULE), chat({"temperature": 0.5}, temperature=0.5))
    assert refused.value.param == "parameters.temperature"


def test_extra_of_an_unknown_dialect_is_refused() -> None:
    request = GenerateRequest("hi", extra={"max_tokens": 7})
    with pytest.raises(RequestRejected):
        model_input(dict(RULE), request)
