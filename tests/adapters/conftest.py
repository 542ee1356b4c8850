from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from providers.contract import Http, ProviderSettings
from providers.toolkit.http import open_http


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    http = open_http(ProviderSettings())
    yield http
    await http.aclose()
