"""Another vendor over bare httpx: a streamed answer, its retry, its usage, without any SDK.

VENDOR_URL=https://api.mistral.ai/v1 VENDOR_API_KEY=... python examples/vendor_httpx.py

invoke_agent ask gen_ai.usage.output_tokens=3
  chat mistral-small-latest gen_ai.usage.output_tokens=3 rlm.retry.count=1
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator

try:
    import httpx2 as httpx  # what openai 3 brings
except ImportError:
    import httpx

import rlm_otel

URL = os.environ.get("VENDOR_URL", "https://api.mistral.ai/v1") + "/chat/completions"
HEADERS = {"Authorization": f"Bearer {os.environ.get('VENDOR_API_KEY', '')}"}
MODEL = "mistral-small-latest"
MAX_RETRIES = 2


@rlm_otel.run
async def ask(client: httpx.AsyncClient, question: str) -> str:
    messages = [{"role": "user", "content": question}]
    body = {"model": MODEL, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
    async with rlm_otel.llm_call(provider="mistral_ai", model=MODEL, input=messages, url=URL, stream=True) as call:
        for attempt in range(MAX_RETRIES + 1):
            try:
                return await read(client, body, call)
            except httpx.HTTPStatusError as error:
                if attempt == MAX_RETRIES or error.response.status_code < 429:
                    raise
                delay_s = float(error.response.headers.get("retry-after", 1))
                hooks_s = await call.aretrying(error, delay_s=delay_s, max_attempts=MAX_RETRIES)
                await asyncio.sleep(max(0.0, delay_s - hooks_s))
    raise AssertionError("never here")


async def read(client: httpx.AsyncClient, body: dict[str, object], call: rlm_otel.LLMCall) -> str:
    told: dict[str, object] = {}
    text = ""
    async with client.stream("POST", URL, json=body, headers=HEADERS) as response:
        response.raise_for_status()
        async for chunk in chunks(response):
            piece = "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
            call.chunk(piece)
            text += piece
            told.update(model=chunk["model"], response_id=chunk["id"])
            for choice in chunk["choices"]:
                told["finish_reason"] = choice.get("finish_reason") or told.get("finish_reason")
            if chunk.get("usage"):
                told["usage"] = chunk["usage"]
    call.finish(text, **told)
    return text


async def chunks(response: httpx.Response) -> AsyncIterator[dict]:
    async for line in response.aiter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


async def main() -> None:
    async with httpx.AsyncClient() as client:
        print(await ask(client, "Say hello."))


if __name__ == "__main__":
    asyncio.run(main())
