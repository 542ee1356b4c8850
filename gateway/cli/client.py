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
    """A gateway that answers questions in JSON. Raises ConfigError for what cannot be sent."""

    def __init__(self, url: str, api_key: str | None, timeout_seconds: float = 10.0) -> None:
        self.url = url.rstrip("/")
        if api_key is not None and not api_key.isascii():
            raise ConfigError("the API key is none of a gateway's: they are plain ASCII")
        try:
            self._client = httpx.Client(
                base_url=self.url,
                headers=headers_of(api_key),
                timeout=timeout_seconds,
                trust_env=False,
            )
        except httpx.InvalidURL as error:
            raise ConfigError(f"{url} is no address ({error})") from error

    def get(self, path: str, **params: Any) -> Any:
        """A list under ``data``, and more. Raises NoAnswer, or ConfigError for what asking again
        does not mend.
        """
        try:
            answer = self._client.get(path, params=params)
            said = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise NoAnswer(f"no answer from {self.url} ({type(error).__name__})") from error
        if answer.status_code >= 500:
            raise NoAnswer(f"{self.url} answers {answer.status_code}")
        if answer.status_code >= 400:
            raise ConfigError(f"{self.url} answers {answer.status_code}: {_why(said)}")
        if not isinstance(said, dict) or not isinstance(said.get("data"), list):
            raise ConfigError(f"{self.url} does not answer as a gateway does")
        return said

    def close(self) -> None:
        """Hang up."""
        self._client.close()


def _why(said: Any) -> str:
    """The words of an error, as a gateway has them; others have others."""
    error = said.get("error") if isinstance(said, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) else "it does not say why"


class NoAnswer(ConfigError):
    """A gateway that is not there, or not well; it may be in a moment."""
