"""Having the embedded model's weights before the first request needs them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pydantic import ValidationError

from gateway.registry import provider_dir
from gateway.settings import ConfigError, Settings

if TYPE_CHECKING:
    from providers.local.weights import Progress


def prepare_weights(settings: Settings) -> None:
    """Find or fetch the weights of embedded models, with a progress bar. Raises ConfigError."""
    for name, deployment in settings.deployments.items():
        kind = settings.providers.get(deployment.provider, {}).get("kind", deployment.provider)
        if kind != "local":
            continue
        from providers.local.options import LocalOptions
        from providers.local.provider import prepare
        from providers.local.weights import WeightsUnavailable

        try:
            options = LocalOptions.model_validate(deployment.options)
        except ValidationError:
            continue  # the registry names the fault
        try:
            prepare(
                deployment.model, options, provider_dir(settings, deployment.provider), _progress
            )
        except WeightsUnavailable as error:
            raise ConfigError(f"deployments.{name}: {error}") from error


def _progress(progress: Progress) -> None:
    if progress.stage == "checking":
        return  # a tenth of a second
    if progress.total_bytes is None:
        sys.stderr.write("Fetching the embedded model's weights (94 MiB, once) ...\n")
        return
    share = progress.done_bytes / progress.total_bytes
    end = "\n" if progress.done_bytes >= progress.total_bytes else ""
    sys.stderr.write(f"\r{progress.stage} [{'#' * int(share * 30):<30}] {share:4.0%}{end}")
    sys.stderr.flush()
