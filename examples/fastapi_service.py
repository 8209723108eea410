"""A FastAPI service that streams answers, and whose clients go away in the middle of them.

OPENAI_API_KEY=... python examples/fastapi_service.py    (then: curl -N localhost:8000/ask?question=Hi)

invoke_agent answer gen_ai.conversation.id=c1 gen_ai.usage.output_tokens=2
  chat gpt-4o gen_ai.conversation.id=c1 gen_ai.usage.output_tokens=2
invoke_agent answer gen_ai.conversation.id=c2 (cancelled)
  chat gpt-4o gen_ai.conversation.id=c2 (cancelled)
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import openai
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

import rlm_otel

client = openai.AsyncOpenAI()
rlm_otel.instrument_openai(client, include_usage=True)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with client:
        yield
    # uvicorn ends by the signal that stopped it: nothing that runs at an interpreter's exit runs then.
    await asyncio.to_thread(rlm_otel.shutdown)


app = FastAPI(lifespan=lifespan)


@rlm_otel.run
async def answer(question: str) -> AsyncIterator[str]:
    messages = [{"role": "user", "content": question}]
    async with await client.chat.completions.create(model="gpt-4o", messages=messages, stream=True) as stream:
        async for chunk in stream:
            yield chunk.choices[0].delta.content or ""


@app.get("/ask")
async def ask(question: str, conversation: str) -> StreamingResponse:
    # The answer is read after this has returned; it keeps what it was called in.
    with rlm_otel.conversation(conversation):
        return StreamingResponse(answer(question), media_type="text/plain")


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), log_level="warning")
