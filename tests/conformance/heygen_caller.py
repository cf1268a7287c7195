"""A caller of HeyGen's paths, who checks each answer against the schema that it must keep."""

import json
from collections import Counter
from typing import Any

import aiohttp

from simulator import Simulator
from tests.conformance.schemas import check

__all__ = ["PATH", "VIDEO", "Caller", "order"]

PATH = "/v3/video-translations"
VIDEO = "https://example.com/talk.mp4"


def order(*languages: str, video: str = VIDEO, **fields: Any) -> dict[str, Any]:
    """Return the body of an order."""
    source = {"type": "url", "url": video}
    return {"video": source, "output_languages": list(languages or ("Spanish",)), **fields}


class Caller:
    """Asks, and checks what comes.

    Args:
        sim: who is asked.
        key: the API key; None shows none.
    """

    def __init__(self, sim: Simulator, key: str | None = "any") -> None:
        self.checked: Counter[str] = Counter()
        """How many answers were checked against each schema."""
        self.headers: dict[str, str] = {}
        """Of the last answer."""
        self.request_ids: list[str] = []
        """Of all answers of v2 and v3."""
        self._sim = sim
        self._key = key

    async def ask(
        self, method: str, path: str, schema: str | None = None, **options: Any
    ) -> tuple[int, Any]:
        """Return the status and the document of an answer.

        Args:
            method: of the request.
            path: of the request, with its query, or a whole URL.
            schema: of an answer that succeeds; None for one that must not.
            options: those of aiohttp.
        """
        keys = {"X-Api-Key": self._key} if self._key else {}
        headers = {**keys, **options.pop("headers", {})}
        connector = aiohttp.TCPConnector(force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            http.request(method, self._sim.url + path, headers=headers, **options) as answer,
        ):
            self.headers = {name.title(): value for name, value in answer.headers.items()}
            status, document = answer.status, json.loads(await answer.read())
        self.request_ids.append(self.headers["X-Request-Id"])
        name = schema if status < 400 else "v2-error" if path.startswith("/v2/") else "error"
        assert name is not None, f"{method} {path} answered {status}: {document}"
        check(name, document)
        self.checked[name] += 1
        return status, document

    async def new(self, *languages: str, **fields: Any) -> list[str]:
        """Order translations and return their ids."""
        status, made = await self.ask("POST", PATH, "created", json=order(*languages, **fields))
        assert status == 200, made
        return list(made["data"]["video_translation_ids"])

    async def one(self, job_id: str) -> dict[str, Any]:
        """Return what is said of one translation."""
        status, told = await self.ask("GET", f"{PATH}/{job_id}", "translation")
        assert status == 200, told
        return dict(told["data"])

    async def refused(self, method: str, path: str, **options: Any) -> tuple[int, str, Any]:
        """Return the status of a refusal, its code, and the parameter that is to blame."""
        status, told = await self.ask(method, path, **options)
        return status, told["error"]["code"], told["error"].get("param")
