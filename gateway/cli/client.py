"""Where a running gateway is found by commands that ask one, and how it is asked."""

from __future__ import annotations

from typing import Any

import httpx

from gateway.settings import ConfigError, Settings


def configured_url(settings: Settings) -> str:
    """The address that the configuration says."""
    host = settings.server.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.server.port}"


def headers_of(api_key: str | None) -> dict[str, str]:
    """What a key adds to a request."""
    return {} if api_key is None else {"authorization": f"Bearer {api_key}"}


class Asked:
    """A gateway that answers questions in JSON."""

    def __init__(self, url: str, api_key: str | None, timeout_seconds: float = 10.0) -> None:
        self.url = url.rstrip("/")
        self._client = httpx.Client(
            base_url=self.url, headers=headers_of(api_key), timeout=timeout_seconds, trust_env=False
        )

    def get(self, path: str, **params: Any) -> Any:
        """Raises NoAnswer, or ConfigError for what asking again does not mend."""
        try:
            answer = self._client.get(path, params=params)
            said = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise NoAnswer(f"no answer from {self.url} ({type(error).__name__})") from error
        if answer.status_code >= 500:
            raise NoAnswer(f"{self.url} answers {answer.status_code}")
        if answer.status_code >= 400:
            message = said.get("error", {}).get("message", "it does not say why")
            raise ConfigError(f"{self.url} answers {answer.status_code}: {message}")
        return said

    def close(self) -> None:
        """Hang up."""
        self._client.close()


class NoAnswer(ConfigError):
    """A gateway that is not there, or not well; it may be in a moment."""
