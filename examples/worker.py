"""A worker behind a queue, as with Celery: the carrier goes along, and the work is part of the sender's trace.

OPENAI_API_KEY=... python examples/worker.py

invoke_agent order
  execute_tool send
    invoke_agent job
      execute_tool chapter
        chat gpt-4o
      execute_tool chapter
        chat gpt-4o
"""

import multiprocessing
from typing import Any

import openai

import rlm_otel

PARTS = ("north", "south")


def send(queue: Any, text: str) -> None:
    """In the service: what Celery would do in `before_task_publish`."""
    with rlm_otel.tool("send", {"text": text}, type="extension"):
        queue.put({"text": text, "headers": rlm_otel.inject()})


def work(queue: Any) -> None:
    """The worker's process: what Celery would do in `task_prerun`."""
    with openai.OpenAI() as client, rlm_otel.TracedThreadPoolExecutor(4) as pool:
        rlm_otel.instrument_openai(client)

        @rlm_otel.tool
        def chapter(about: str) -> str:
            messages = [{"role": "user", "content": f"One sentence about {about}."}]
            return client.chat.completions.create(model="gpt-4o", messages=messages).choices[0].message.content

        @rlm_otel.run
        def job(text: str) -> str:
            return " ".join(pool.map(chapter, [f"{text} in the {part}" for part in PARTS]))

        while (message := queue.get()) is not None:
            with rlm_otel.extract(message["headers"]):
                print(job(message["text"]), flush=True)


def main() -> None:
    processes = multiprocessing.get_context("spawn")
    queue = processes.Queue()
    worker = processes.Process(target=work, args=(queue,))
    worker.start()
    with rlm_otel.run("order"):
        send(queue, "the weather")
    queue.put(None)
    worker.join()


if __name__ == "__main__":
    main()
