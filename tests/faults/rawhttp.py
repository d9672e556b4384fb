"""HTTP as no library would send it: bytes in, and whatever comes back."""

import asyncio
import json

import httpx

from routing import ask

BODY = json.dumps(ask(max_tokens=3)).encode()
HOST = b"Host: x\r\n"
SIZED = HOST + b"Content-Length: %d\r\n" % len(BODY)
POST = b"POST /v1/chat/completions HTTP/1.1\r\n"
GOOD = POST + SIZED + b"\r\n" + BODY


async def told(client: httpx.AsyncClient, *parts: bytes, pause: float = 0.0) -> bytes:
    """Return all that comes back until the router ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
    try:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause)
        async with asyncio.timeout(15):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def statuses(raw: bytes) -> list[int]:
    """Return the status of each answer."""
    return [int(part[:3]) for part in raw.split(b"HTTP/1.1 ")[1:]]
