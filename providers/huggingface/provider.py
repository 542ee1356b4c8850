"""From configuration to deployments."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

from providers.contract import (
    Accepted,
    Capabilities,
    Deployment,
    Event,
    GenerateRequest,
    Host,
    Http,
    Provider,
    ProviderPlugin,
    Task,
)
from providers.huggingface.calls import call_events
from providers.huggingface.endpoint import Endpoint, ManagedEndpoint
from providers.huggingface.options import HuggingFaceOptions, HuggingFaceSettings
from providers.huggingface.payload import Place
from providers.huggingface.state import Management
from providers.huggingface.timing import request_id_from
from providers.huggingface.wire import Wire
from providers.toolkit.openai_chat import DIALECT

CLASSIC_URL = "https://api-inference.huggingface.co"
_REPOSITORY = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
_ROUTED = re.compile(r"[\w.-]+/[\w.-]+(?::[\w-]+)?")


class SharedModel:
    """A model on machines that others use, too: nothing is said about what boots there."""

    def __init__(self, http: Http, place: Place, capabilities: Capabilities) -> None:
        self._http = http
        self._place = place
        self._capabilities = capabilities

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        wire, named = Wire(self._http), False
        async with aclosing(call_events(wire, self._place, request)) as events:
            async for event in events:
                if not named:
                    named = True
                    request_id = request_id_from(wire.headers)
                    if request_id is not None:  # what a question to them, or a bill, is about
                        yield Accepted(request_id)
                yield event


class HuggingFaceProvider:
    """One account; its deployments share one pool of connections."""

    def __init__(self, settings: HuggingFaceSettings, host: Host) -> None:
        self._settings = settings
        self._http = host.http

    def bind(self, model: str, options: HuggingFaceOptions) -> Deployment:
        place = Place(
            url=self._url(model, options),
            model=model,
            api=options.api,
            headers=self._headers(options),
            parameters=options.parameters,
            details=options.details,
        )
        task: Task = "embed" if options.api == "feature-extraction" else "generate"
        capabilities = Capabilities(
            tasks=frozenset({task}), dialect=DIALECT if options.api == "chat" else None
        )
        if options.via != "endpoint" or options.url is None:
            return SharedModel(self._http, place, capabilities)
        health_url = options.url + options.health_path
        if options.endpoint is None:
            return Endpoint(self._http, place, health_url, capabilities)
        return ManagedEndpoint(
            self._http,
            place,
            health_url,
            capabilities,
            self._management(options.endpoint),
            reads_first=options.read_state_first,
            scale_up_timeout_seconds=options.scale_up_timeout_seconds,
        )

    async def aclose(self) -> None:
        """Nothing of its own: the HTTP client is the host's."""

    def _url(self, model: str, options: HuggingFaceOptions) -> str:
        path = options.path or ""
        if options.via == "router":
            if not _ROUTED.fullmatch(model):
                raise ValueError(f"model: {model!r} is not org/name, org/name:provider or :policy")
            return f"{self._settings.base_url}/v1/chat/completions"
        chat = "/v1/chat/completions" if options.api == "chat" else ""
        if options.via == "endpoint":
            # TGI, TEI and the toolkit all take {"inputs"} at the endpoint's own address.
            return f"{options.url}{path or chat or '/'}"
        if not _REPOSITORY.fullmatch(model):
            raise ValueError(f"model: {model!r} is not org/name; a policy needs via: router")
        if options.via == "hf-inference":
            # huggingface_hub 2.4.0, inference/_providers/hf_inference.py
            embeds = options.api == "feature-extraction"
            task = "/pipeline/feature-extraction" if embeds else chat
            return f"{self._settings.base_url}/hf-inference/models/{model}{path or task}"
        return f"{options.url or CLASSIC_URL}/models/{model}{path}"

    def _headers(self, options: HuggingFaceOptions) -> dict[str, str]:
        headers = self._authorization(required=options.via != "endpoint")
        routed = options.via in ("router", "hf-inference")
        if routed and self._settings.bill_to is not None:
            headers["x-hf-bill-to"] = self._settings.bill_to
        return headers

    def _authorization(self, *, required: bool) -> dict[str, str]:
        token = self._settings.token
        if token is None:
            if required:
                raise ValueError("the provider block needs a token (hf_...)")
            return {}
        return {"authorization": f"Bearer {token.get_secret_value()}"}

    def _management(self, endpoint: str) -> Management:
        url = f"{self._settings.management_url}/endpoint/{endpoint}"
        return Management(self._http, url, self._authorization(required=True))


def _build(settings: HuggingFaceSettings, host: Host) -> Provider:
    return HuggingFaceProvider(settings, host)


plugin = ProviderPlugin(
    name="huggingface",
    settings=HuggingFaceSettings,
    options=HuggingFaceOptions,
    build=_build,
    summary="Hugging Face's inference providers, hf-inference and dedicated endpoints",
    status="emulator only",
)
