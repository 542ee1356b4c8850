"""``/docs``: the API as a page, and the guides. Nothing in it asks another server."""

from __future__ import annotations

from fastapi import APIRouter

from gateway.http.docs import api, guides

router = APIRouter(include_in_schema=False)
router.include_router(guides.router)  # first: the other one has a route for any name
router.include_router(api.router)
