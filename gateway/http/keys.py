"""``/v1/keys``: make, list, rotate and revoke keys while the gateway runs; for ``admin``."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.responses import Response

from gateway.http.answers import rejection
from gateway.http.body import read_json_body
from gateway.http.errors import HttpError
from gateway.http.json import json_response
from gateway.http.parameters import only
from gateway.http.state import State, state_of
from gateway.limits.keylist import GRACE_SECONDS, key_json, keys_json
from gateway.limits.keystore import NAME_PATTERN, KeyTaken, NoSuchKey, new_key
from gateway.settings import Allowance, KeySettings, Scope

router = APIRouter()

_MOST_GRACE_SECONDS = 30 * 86_400


class NewKey(BaseModel):
    """A key to be made; the keys of the configuration mean the same."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name: str = Field(pattern=NAME_PATTERN)
    """Its id in the ledger."""
    scopes: frozenset[Scope] = frozenset({"generate"})
    """generate: call models, see own operations; reports: see all; admin: everything."""
    models: frozenset[Annotated[str, Field(min_length=1, max_length=256)]] | None = None
    """The models that it may ask for, by the name that is asked for; unset: all."""
    expires_at: AwareDatetime | None = None
    """From then on it is refused."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """Requests that it may make in a minute."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Tokens, in and out, that it may use in a minute."""
    budgets: tuple[Allowance, ...] = Field(default=(), max_length=8)
    """What may be spent with it."""


class Rotation(BaseModel):
    """How to rotate."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    grace_seconds: int = Field(default=GRACE_SECONDS, ge=0, le=_MOST_GRACE_SECONDS)
    """How long the present secret stays good."""


_NEW: TypeAdapter[NewKey] = TypeAdapter(NewKey)
_ROTATION: TypeAdapter[Rotation] = TypeAdapter(Rotation)


@router.get("/v1/keys", response_class=Response)
async def list_keys(request: Request) -> Response:
    """All keys, revoked ones too, without their secrets."""
    state = _admitted(request)
    only(request.query_params)
    stored = await asyncio.to_thread(state.keys.keys)
    now_us = state.executor.clock.wall_us()
    data = keys_json(state.settings.auth.keys, stored, now_us)
    return json_response({"data": data, "next_cursor": None})


@router.post("/v1/keys", response_class=Response)
async def create_key(request: Request) -> Response:
    """Make a key. It is in this answer and nowhere else."""
    state = _admitted(request)
    if not state.keyring.required:
        raise HttpError(
            409,
            "keys_are_off",
            "Keys are not asked for here; the operator can set auth.mode: keys.",
        )
    body = _validated(_NEW, await read_json_body(request, state.settings.server))
    if body.name in state.keyring.configured:
        raise _taken(body.name)
    secret, digest = new_key()
    given = {name: value for name, value in body if name != "budgets"}
    settings = KeySettings(sha256=digest, **given)
    now_us = state.executor.clock.wall_us()
    try:
        await asyncio.to_thread(state.keys.create, settings, body.budgets, now_us)
    except KeyTaken:
        raise _taken(body.name) from None
    return await _told(state, body.name, secret, 201)


@router.post("/v1/keys/{name}/rotate", response_class=Response)
async def rotate_key(request: Request, name: str) -> Response:
    """Give a key another secret; the present one stays good for ``grace_seconds``."""
    state = _admitted(request)
    body = _validated(_ROTATION, await read_json_body(request, state.settings.server))
    _refuse_configured(state, name)
    secret, digest = new_key()
    until_us = state.executor.clock.wall_us() + body.grace_seconds * 1_000_000
    try:
        await asyncio.to_thread(state.keys.rotate, name, digest, until_us)
    except NoSuchKey:
        raise _not_found() from None
    return await _told(state, name, secret, 200)


@router.delete("/v1/keys/{name}", response_class=Response)
async def revoke_key(request: Request, name: str) -> Response:
    """Refuse a key from now on; what it has begun goes on."""
    state = _admitted(request)
    _refuse_configured(state, name)
    try:
        await asyncio.to_thread(state.keys.revoke, name, state.executor.clock.wall_us())
    except NoSuchKey:
        raise _not_found() from None
    return await _told(state, name, None, 200)


async def _told(state: State, name: str, secret: str | None, status: int) -> Response:
    await state.keywatch.reload()
    now_us = state.executor.clock.wall_us()
    stored = await asyncio.to_thread(state.keys.keys)
    (shown,) = [key_json(key, now_us) for key in stored if key.name == name]
    return json_response(shown if secret is None else {**shown, "key": secret}, status)


def _admitted(request: Request) -> State:
    state = state_of(request)
    state.keyring.admit(request.headers, "admin")
    return state


def _validated(adapter: TypeAdapter[Any], raw: bytes) -> Any:
    try:
        return adapter.validate_json(raw)
    except ValidationError as error:
        raise rejection(error) from None


def _refuse_configured(state: State, name: str) -> None:
    if name in state.keyring.configured:
        message = "This key stands in the configuration; it is changed there."
        raise HttpError(409, "key_is_configured", message, param="name")


def _taken(name: str) -> HttpError:
    message = f"There is or was a key named {name!r}; choose another name."
    return HttpError(409, "key_exists", message, param="name")


def _not_found() -> HttpError:
    return HttpError(404, "key_not_found", "There is no such key, or it is revoked.", param="name")
