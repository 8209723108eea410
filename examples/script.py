"""A plain script: ask a question about each line, in a conversation, and score the answer.

OPENAI_API_KEY=... python examples/script.py

invoke_agent digest gen_ai.conversation.id=evening-news
  invoke_agent gen_ai.conversation.id=evening-news
    chat gpt-4o gen_ai.conversation.id=evening-news gen_ai.prompt.name=summary
  invoke_agent gen_ai.conversation.id=evening-news
    chat gpt-4o gen_ai.conversation.id=evening-news gen_ai.prompt.name=summary
  rlm.feedback
"""

import rlm_otel
from rlm_otel import RLM

LINES = ("Rain in the north.", "Sun in the south.")


def main() -> None:
    rlm = RLM.from_openai("gpt-4o")
    with rlm, rlm_otel.conversation("evening-news"), rlm_otel.run("digest", input=LINES) as run:
        with rlm_otel.prompt("summary", "1"):
            answers = [rlm.run(f"In three words: {line}").text for line in LINES]
        run.result(answers)
    print("\n".join(answers))
    rlm_otel.feedback(run, "length", len(answers[0].split()) <= 3, label="short")


if __name__ == "__main__":
    main()
