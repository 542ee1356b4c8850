"""What both protocols have: one route or model of one server, asked for one thing, not stopped."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from providers.banana.answers import refuse_retired
from providers.banana.options import BananaOptions
from providers.contract import Capabilities, GenerateRequest, Http, RequestRejected
from providers.toolkit.mapping import model_input


class BananaDeployment:
    """Neither protocol has a cancel."""

    def __init__(
        self, http: Http, url: str, api_key: SecretStr | None, model: str, options: BananaOptions
    ) -> None:
        self._http = http
        self._url = url
        self._api_key = api_key
        self._model = model
        self._options = options

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(cancels=False)

    def _input(self, request: GenerateRequest) -> dict[str, Any]:
        """The handler's input. Raises RequestRejected, ProviderRetired; nothing is dialled."""
        if request.task != "generate":
            raise RequestRejected("This deployment only generates.", param="task")
        made = model_input(self._options.input, request)
        refuse_retired(self._url)
        return made
