"""Webhooks over real sockets: names are looked up, connections made, and bodies signed."""

import asyncio

import aiohttp

from simulator import Simulator
from tests.virtual.receiver import Receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def test_a_delivery_by_name_in_both_dialects() -> None:
    """A receiver on this machine is told, by its name, too; one whose name is none is not."""
    async with (
        asyncio.timeout(20),
        Receiver.open(port=0) as receiver,
        Simulator(delay=0.1, webhook_secret=SECRET) as sim,
        aiohttp.ClientSession(sim.url, headers={"X-Api-Key": "any"}) as http,
    ):
        url = receiver.url.replace("127.0.0.1", "localhost")
        await sim.create(callback_url=url)
        await sim.create(callback_url=url.replace("localhost", "nowhere.invalid"))
        video = {"type": "url", "url": "https://example.com/talk.mp4"}
        order = {"video": video, "output_languages": ["French"], "callback_url": url}
        async with http.post("/v3/video-translations", json=order) as answer:
            assert answer.status == 200
        got = await receiver.wait(2)
        assert all(one.is_signed(SECRET) for one in got)
        assert {"webhook-signature" in one.headers for one in got} == {True, False}
        # Of the one whose name is none nothing came, and it is waiting for another attempt.
        while sim.stats().webhooks != (1, 2, 1, 0):  # noqa: ASYNC110 (a counter has no event)
            await asyncio.sleep(0.01)
