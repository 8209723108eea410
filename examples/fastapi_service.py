"""A FastAPI service that streams answers, and whose clients go away in the middle of them.

OPENAI_API_KEY=... python examples/fastapi_service.py    (then: curl -N localhost:8000/ask?question=Hi)

invoke_agent answer gen_ai.conversation.id=c1
  invoke_agent gen_ai.conversation.id=c1
    chat gpt-4o gen_ai.conversation.id=c1
invoke_agent answer gen_ai.conversation.id=c2 (cancelled)
  invoke_agent gen_ai.conversation.id=c2 (cancelled)
    chat gpt-4o gen_ai.conversation.id=c2 (cancelled)
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

import rlm_otel
from rlm_otel import RLM

otel = rlm_otel.OTelCallback()
rlm = RLM.from_openai("gpt-4o")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with rlm:
        yield
    # uvicorn ends by the signal that stopped it: nothing that runs at an interpreter's exit runs then.
    await asyncio.to_thread(otel.shutdown)


app = FastAPI(lifespan=lifespan)


@rlm_otel.run(callbacks=[otel])
async def answer(question: str) -> AsyncIterator[str]:
    async with rlm.astream(question) as stream:
        async for text in stream:
            yield text


@app.get("/ask")
async def ask(question: str, conversation: str) -> StreamingResponse:
    # The answer is read after this has returned; it keeps what it was called in.
    with rlm_otel.conversation(conversation):
        return StreamingResponse(answer(question), media_type="text/plain")


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), log_level="warning")
