"""Deployments as they stand: what is expected of them, and taking them in and out of service."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.clock import Clock
from gateway.execution.booting import boot
from gateway.execution.candidates import candidate_of, considered_json
from gateway.http.errors import HttpError
from gateway.http.json import json_response
from gateway.http.parameters import only
from gateway.http.state import State, state_of
from gateway.registry import Target
from gateway.routing import Considered
from gateway.warmth.view import instant, standing_json
from providers.contract import Probeable, ProviderError, Supervised, Warmable

logger = logging.getLogger(__name__)
router = APIRouter()


@router.get("/v1/deployments", response_class=Response)
async def deployments(request: Request) -> Response:
    """Every deployment: what runs there, and what a call that is sent now can expect."""
    state = state_of(request)
    state.keyring.admit(request.headers, "reports")
    only(request.query_params)
    return json_response({"data": listed(state), "next_cursor": None})


def listed(state: State) -> list[dict[str, Any]]:
    """Every deployment as JSON has it, in the configuration's order."""
    return [_shown(state, target) for target in state.registry.targets.values()]


@router.post("/v1/deployments/{name}/cordon", response_class=Response)
async def cordon(request: Request, name: str) -> Response:
    """Send nothing new there; what runs goes on. Holds until it is uncordoned or restarted."""
    return _in_service(request, name, cordoned=True)


@router.post("/v1/deployments/{name}/uncordon", response_class=Response)
async def uncordon(request: Request, name: str) -> Response:
    """Send requests there again."""
    return _in_service(request, name, cordoned=False)


@router.post("/v1/deployments/{name}/warm", response_class=Response)
async def warm(request: Request, name: str) -> Response:
    """Have it boot without doing any work, where its provider has a way; answers at once."""
    state = state_of(request)
    state.keyring.admit(request.headers, "admin")
    target = target_of(state, name)
    begin_warming(state, target)
    return json_response(_shown(state, target), 202)


def begin_warming(state: State, target: Target) -> None:
    """Have a deployment boot; nothing where it is under way. Raises HttpError 409."""
    name = target.name
    if not isinstance(target.deployment, Warmable):
        message = "This deployment's provider has no way to boot it without work."
        raise HttpError(409, "cannot_be_warmed", message, param="name")
    if name not in state.warming:
        task = asyncio.create_task(_warm(target, target.deployment, state.executor.clock))
        state.warming[name] = task
        task.add_done_callback(lambda _: state.warming.pop(name, None))


async def _warm(target: Target, deployment: Warmable, clock: Clock) -> None:
    try:
        async with asyncio.timeout(target.timeouts.boot_seconds):
            await _bring_up(target, deployment, clock)
    except (ProviderError, TimeoutError) as error:
        logger.warning("deployment %s was not warmed: %s", target.name, type(error).__name__)


async def _bring_up(target: Target, deployment: Warmable, clock: Clock) -> None:
    """Have it boot; where it can be asked how it stands, its warmth hears of the boot."""
    warmth = target.warmth
    if not isinstance(deployment, Probeable) or isinstance(deployment, Supervised):
        await deployment.warm()
        return
    state, seen_at = await deployment.probe(), clock.monotonic()
    warmth.probed(state, seen_at)
    if state not in ("down", "booting"):
        await deployment.warm()
        return
    warmth.probed("booting", clock.monotonic())
    try:
        state = await boot(target.deployment, lambda _: None)
        seen_at = clock.monotonic()
    except ProviderError:  # it may boot all the same, for somebody else
        with suppress(ProviderError):
            state = await deployment.probe()
            seen_at = clock.monotonic()
        raise
    except asyncio.CancelledError:
        if not target.deployment.capabilities.ends_boots:
            state, seen_at = "booting", clock.monotonic()  # nobody waits for it, and it goes on
        raise
    finally:
        warmth.probed(state, seen_at)


def _in_service(request: Request, name: str, *, cordoned: bool) -> Response:
    state = state_of(request)
    state.keyring.admit(request.headers, "admin")
    target = target_of(state, name)
    target.cordoned = cordoned
    return json_response(_shown(state, target))


def target_of(state: State, name: str) -> Target:
    """The deployment of that name. Raises HttpError 404."""
    target = state.registry.targets.get(name)
    if target is None:
        message = "There is no deployment of this name."
        raise HttpError(404, "deployment_not_found", message, param="name")
    return target


def _shown(state: State, target: Target) -> dict[str, Any]:
    clock = state.executor.clock
    candidate = candidate_of(target, clock, input_bytes=0, max_output_tokens=None)
    expected = considered_json(Considered(candidate))
    at, wall_us = clock.monotonic(), clock.wall_us()

    outlook, failed = target.outlook(at), target.circuit.last_error
    known = outlook.state != "unknown"
    boot_seconds = expected["boot_seconds"] if target.warmth.boots_known else None
    return {
        "name": target.name,
        "provider": target.provider,
        "provider_model": target.provider_model,
        "hardware": target.hardware,
        "cordoned": target.cordoned,
        "closed": candidate.closed,
        "running": target.running,
        "queued": target.gate.queued,
        "queued_since": instant(target.gate.queued_since, at, wall_us),
        "warming": target.name in state.warming,
        "can_be_warmed": isinstance(target.deployment, Warmable),
        **standing_json(target.warmth, outlook, at, wall_us),
        "expected_wait_seconds": expected["expected_wait_seconds"] if known else None,
        "boot_seconds": boot_seconds or None,
        "booting_left_seconds": outlook.booting_left_seconds,
        "warm_until": instant(target.warmth.warm_until_at(at), at, wall_us),
        "last_error": None
        if failed is None
        else {"type": failed[0], "at": instant(failed[1], at, wall_us)},
    }
