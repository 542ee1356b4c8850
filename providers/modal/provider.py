"""From configuration to deployments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

from providers.contract import BilledSum, Deployment, Host, ProviderPlugin
from providers.modal.api import Api, Ref
from providers.modal.evidence import Containers
from providers.modal.export import read_calls
from providers.modal.function import FunctionDeployment
from providers.modal.options import ModalOptions, ModalSettings
from providers.modal.redirects import FollowingHttp
from providers.modal.scaling import Lookup
from providers.modal.sdk import SdkApi
from providers.modal.web import ScaledWebDeployment, WebDeployment
from providers.toolkit.openai_chat import ChatEndpoint

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class ModalProvider:
    """One account; its deployments share one connection to the control plane."""

    def __init__(self, settings: ModalSettings, host: Host, api: Api | None = None) -> None:
        self._settings = settings
        self._host = host
        self._api = api
        self._containers = Containers()
        self._lookups: list[Lookup] = []
        if api is None and settings.token_id is not None and settings.token_secret is not None:
            self._api = SdkApi(
                settings.token_id,
                settings.token_secret.get_secret_value(),
                server_url=settings.server_url,
                connect_timeout_seconds=settings.connect_timeout_seconds,
                rpc_timeout_seconds=settings.rpc_timeout_seconds,
            )

    def bind(self, model: str, options: ModalOptions) -> Deployment:
        if options.url is not None:
            return self._web(options.url.rstrip("/"), model, options)
        settings = self._settings
        if settings.proxy or settings.ca_file or settings.headers:
            raise ValueError(
                "proxy, ca_file and headers do not reach functions: Modal's SDK reads HTTPS_PROXY "
                "and SSL_CERT_FILE; give endpoints by url a provider block of their own"
            )
        unary = options.function if options.cls is None else options.method
        return FunctionDeployment(
            self._connected(),
            options,
            self._containers,
            unary=self._lookup(options, unary),
            streaming=self._lookup(options, options.stream_method),
        )

    async def billed(self, since: datetime, until: datetime) -> Sequence[BilledSum]:
        """Modal's billing report by the hour, which has whole hours only. Raises ProviderError."""
        return await self._connected().billed(since, until)

    async def aclose(self) -> None:
        for lookup in self._lookups:
            await lookup.aclose()
        if self._api is not None:
            await self._api.aclose()

    def _web(self, url: str, model: str, options: ModalOptions) -> Deployment:
        headers = {}
        settings = self._settings
        if settings.proxy_token_id is not None and settings.proxy_token_secret is not None:
            parts = urlsplit(url)
            if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
                raise ValueError("url: the proxy auth token is only sent by https")
            headers["modal-key"] = settings.proxy_token_id
            headers["modal-secret"] = settings.proxy_token_secret.get_secret_value()
        if options.api_key is not None:
            headers["authorization"] = f"Bearer {options.api_key.get_secret_value()}"
        endpoint = ChatEndpoint(url + options.chat_path, model, headers=headers)
        http = FollowingHttp(self._host.http, options.max_redirects)
        behind = options.function if options.cls is None else options.method
        lookup = self._lookup(options, behind)
        if lookup is None:
            return WebDeployment(http, endpoint, options)
        return ScaledWebDeployment(http, endpoint, options, lookup)

    def _lookup(self, options: ModalOptions, name: str | None) -> Lookup | None:
        if name is None:
            return None
        assert options.app is not None
        ref = Ref(
            options.app,
            function=name if options.cls is None else None,
            cls=options.cls,
            method=name if options.cls is not None else None,
            environment=options.environment_name or self._settings.environment,
            parameters=options.class_parameters(),
        )
        lookup = Lookup(self._connected(), ref)
        self._lookups.append(lookup)
        return lookup

    def _connected(self) -> Api:
        if self._api is None:
            raise ValueError("functions need the provider's token_id and token_secret")
        return self._api


def _build(settings: ModalSettings, host: Host) -> ModalProvider:
    return ModalProvider(settings, host)


plugin = ProviderPlugin(
    name="modal",
    settings=ModalSettings,
    options=ModalOptions,
    build=_build,
    summary="Functions, classes and web endpoints deployed at Modal",
    status="emulator only",
    read_export=read_calls,
)
