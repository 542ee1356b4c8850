"""What the operator said about imported jobs, and the configuration, as ``Rules``."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.accounting.prices import PriceBook, Tariff
from gateway.history.rows import Place, Rules
from gateway.pricebook.configured import price_book, tariff_of
from gateway.settings import ConfigError, Settings


def rules_for(
    settings: Settings,
    provider: str,
    *,
    mapped: Sequence[str] = (),
    deployment: str | None = None,
    hardware: str | None = None,
) -> Rules:
    """Rules for the jobs of one provider. Raises ConfigError.

    ``mapped`` are ``owner/model=deployment``, ``deployment`` is for all other jobs; both name
    configured deployments. A model that exactly one deployment of the provider has needs no
    mapping. ``hardware`` prices what is left: by the row ``<kind>-<hardware>``.
    """
    book = price_book(settings)
    kind = str(settings.providers.get(provider, {}).get("kind", provider))
    by_model: dict[str, list[str]] = {}
    for name, given in settings.deployments.items():
        if given.provider == provider:
            by_model.setdefault(given.model, []).append(name)
    places = {
        model: _place(settings, book, names[0])
        for model, names in by_model.items()
        if len(names) == 1
    }
    for said in mapped:
        model, equals, name = said.rpartition("=")
        if not equals or not model or not name:
            raise ConfigError(f"--map {said}: it is owner/model=deployment")
        places[model] = _place(settings, book, name)
    tariff = deployment_tariff = None
    if hardware is not None:
        tariff = _tariff(book, kind, f"{kind}-{hardware}")
        deployment_tariff = book.find(f"{kind}-deployment-{hardware}") or tariff
    return Rules(
        provider,
        settings.revision,
        places,
        None if deployment is None else _place(settings, book, deployment),
        tariff,
        deployment_tariff,
        hardware,
    )


def _place(settings: Settings, book: PriceBook, name: str) -> Place:
    given = settings.deployments.get(name)
    if given is None:
        known = ", ".join(settings.deployments)
        raise ConfigError(f"no deployment is called {name!r} in the configuration ({known})")
    models = (model for model, of in settings.models.items() if name in of.deployments)
    return Place(
        name,
        next(models, given.model),
        tariff_of(name, given, book, settings.providers),
        given.hardware,
    )


def _tariff(book: PriceBook, kind: str, name: str) -> Tariff:
    tariff = book.find(name)
    if tariff is None:
        known = [other for other in book.names() if other.startswith(f"{kind}-")]
        raise ConfigError(f"--hardware: there is no price {name!r} ({', '.join(known) or 'none'})")
    return tariff
