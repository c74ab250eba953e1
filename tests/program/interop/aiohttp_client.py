"""Sends requests with aiohttp: aiohttp_client.py URL PARALLEL COUNT. Prints the status or the error of each answer."""

import asyncio
import sys

import aiohttp

url, parallel, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


async def ask(session):
    try:
        async with session.get(url) as answer:
            await answer.read()
            return answer.status
    except (aiohttp.ClientError, asyncio.TimeoutError) as error:
        return repr(error)


async def ask_all():
    connector = aiohttp.TCPConnector(limit=parallel)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        for answer in await asyncio.gather(*(ask(session) for _ in range(count))):
            print(answer)


asyncio.run(ask_all())
