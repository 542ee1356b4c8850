"""Messages to a webhook: signed as Standard Webhooks are, and only to where they may go.

The name is resolved here, every address is looked at, and the connection goes to the address that
was looked at: a name that resolves to another one a moment later leads nowhere. Redirects are not
followed and no proxy is used, since both would lead past that.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit

from providers.toolkit.webhooks import signature

TIMEOUT_SECONDS = 10.0


class WebhookRefused(Exception):
    """The message was not posted, or not taken. Its text names no address: they hold secrets."""


async def post(
    url: str,
    body: bytes,
    *,
    secret: str,
    message_id: str,
    timestamp: int,
    allow_private_addresses: bool = False,
) -> None:
    """Post a JSON message. Raises WebhookRefused."""
    import httpx

    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = await _address(host, port, allow_private_addresses)
    headers = {
        "host": parts.netloc.rpartition("@")[2],
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, message_id, timestamp, body),
    }
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            response = await client.post(
                httpx.URL(url).copy_with(host=address, port=port),
                content=body,
                headers=headers,
                extensions={"sni_hostname": host},  # its certificate is checked against the name
            )
    except httpx.HTTPError as error:
        raise WebhookRefused(f"it could not be reached ({type(error).__name__})") from error
    if not response.is_success:
        raise WebhookRefused(f"it answered {response.status_code}")


async def _address(host: str, port: int, allow_private_addresses: bool) -> str:
    """An address of a host. Raises WebhookRefused where any of them is not a public one."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise WebhookRefused("its name is not known") from error
    addresses = [str(sockaddr[0]) for *_, sockaddr in found]
    if not addresses:
        raise WebhookRefused("its name is not known")
    if not allow_private_addresses and not all(is_public(address) for address in addresses):
        raise WebhookRefused("its address is not a public one; see allow_private_addresses")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet, also inside an IPv6 one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None:
            return is_public(str(inner))
        if ip in ipaddress.ip_network("64:ff9b::/96"):
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    return ip.is_global and not ip.is_multicast
