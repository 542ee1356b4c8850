"""The suite every adapter must pass, ours and a stranger's.

    class TestAcme(ProviderContract):
        plugin = acme.plugin
        cannot = {"tools": "acme has none"}

        @pytest.fixture
        def upstream(self, acme_emulator):        # an ``Upstream``: how to reach it, what it saw
            return acme_emulator

The emulator plays the scenario named as the model (``providers.testing.scenarios``). What a
provider cannot show is named in ``cannot`` with its reason, and reported as skipped with it.
"""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError

from providers.contract import Delta, Event, Finished, Host, Output, ProviderError
from providers.testing import scenarios
from providers.testing.contract_base import Setup, Upstream, seen, text_of
from providers.testing.contract_stopping import StoppingContract
from providers.testing.contract_waiting import WaitingContract
from providers.toolkit.http import open_http

__all__ = ["ProviderContract", "Setup", "Upstream", "seen", "text_of"]


@pytest.mark.anyio
class ProviderContract(WaitingContract, StoppingContract):
    """Subclass it, name the plugin, provide the fixture ``upstream``."""

    # -- what comes out -----------------------------------------------------------------------

    @pytest.mark.parametrize("stream", [True, False], ids=["streamed", "unstreamed"])
    @pytest.mark.parametrize("scenario", ["warm", "split-frames", "slow-first-delta"])
    async def test_answer_and_usage(
        self, upstream: Upstream, tmp_path: Path, scenario: str, stream: bool
    ) -> None:
        self._skip(scenario)
        events = await self._events(scenario, upstream, tmp_path, stream=stream)
        assert text_of(events) == scenarios.ANSWER
        finished = events[-1]
        assert isinstance(finished, Finished) and finished.usage is not None
        assert finished.usage.input_tokens == scenarios.INPUT_TOKENS
        assert finished.usage.output_tokens == scenarios.OUTPUT_TOKENS

    async def test_unsaid_usage_stays_unknown(self, upstream: Upstream, tmp_path: Path) -> None:
        self._skip("usage-missing")
        events = await self._events("usage-missing", upstream, tmp_path)
        assert text_of(events) == scenarios.ANSWER
        assert isinstance(events[-1], Finished)
        usage = events[-1].usage
        assert usage is None or (usage.input_tokens is None and usage.output_tokens is None)

    async def test_zero_usage_stays_zero(self, upstream: Upstream, tmp_path: Path) -> None:
        self._skip("usage-zero")
        events = await self._events("usage-zero", upstream, tmp_path)
        assert isinstance(events[-1], Finished) and events[-1].usage is not None
        assert events[-1].usage.output_tokens == 0

    async def test_huge_frame(self, upstream: Upstream, tmp_path: Path) -> None:
        self._skip("huge-frame")
        assert len(text_of(await self._events("huge-frame", upstream, tmp_path))) >= 10_000_000

    async def test_tool_call(self, upstream: Upstream, tmp_path: Path) -> None:
        self._skip("tools")
        events = await self._events("tools", upstream, tmp_path)
        assert text_of(events, "tool_call").startswith("{")
        assert isinstance(events[-1], Finished) and events[-1].reasons != ("stop",)

    # -- what goes wrong ----------------------------------------------------------------------

    @pytest.mark.parametrize("scenario", list(scenarios.FAILURES))
    async def test_failure(
        self,
        upstream: Upstream,
        tmp_path: Path,
        scenario: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        self._skip(scenario)
        failure = scenarios.FAILURES[scenario]
        seen: list[Event] = []
        caplog.set_level(logging.DEBUG)
        with pytest.raises(ProviderError) as caught:
            await self._events(scenario, upstream, tmp_path, into=seen)
        error = caught.value
        assert type(error) in failure.errors
        assert error.retry_after_seconds == failure.retry_after_seconds
        assert failure.after_output == any(isinstance(event, Delta | Output) for event in seen)
        told = "".join((*traceback.format_exception(error), repr(error), error.detail, caplog.text))
        assert upstream.key not in told

    # -- what it says of itself ---------------------------------------------------------------

    async def test_capabilities_tell_the_truth(self, upstream: Upstream, tmp_path: Path) -> None:
        self._skip("warm")
        async with self._deployment("warm", upstream, tmp_path) as deployment:
            capabilities = deployment.capabilities
            assert capabilities.tasks
            if capabilities.dialect is not None:
                events = await self._events("warm", upstream, tmp_path)
                frames = [f for e in events if isinstance(e, Delta | Finished) for f in e.native]
                assert frames, "a dialect is promised, but no native frame is passed on"

    async def test_secrets_are_not_shown(self, upstream: Upstream, tmp_path: Path) -> None:
        setup = self.setup_for("warm", upstream)
        settings = self.plugin.settings.model_validate(setup.settings)
        http = open_http(settings)
        provider = self.plugin.build(settings, Host(http, tmp_path))
        deployment = provider.bind(setup.model, self.plugin.options.model_validate(setup.options))
        inside = getattr(deployment, "__dict__", {}).values()
        for thing in (settings, http, provider, deployment, *inside):
            assert upstream.key not in repr(thing)
        assert upstream.key not in settings.model_dump_json()
        await provider.aclose()
        await http.aclose()

    def test_unknown_keys_are_refused(self, upstream: Upstream) -> None:
        setup = self.setup_for("warm", upstream)
        for model, block in (
            (self.plugin.settings, setup.settings),
            (self.plugin.options, setup.options),
        ):
            model.model_validate(block)
            with pytest.raises(ValidationError):
                model.model_validate({**block, "no_such_key": 1})
