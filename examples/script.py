"""A plain script: ask a question about each line, in a conversation, and score the answer.

OPENAI_API_KEY=... python examples/script.py

invoke_agent digest gen_ai.conversation.id=evening-news
  chat gpt-4o gen_ai.conversation.id=evening-news gen_ai.prompt.name=summary
  chat gpt-4o gen_ai.conversation.id=evening-news gen_ai.prompt.name=summary
  rlm.feedback
"""

import openai

import rlm_otel

LINES = ("Rain in the north.", "Sun in the south.")


def ask(client: openai.OpenAI, question: str) -> str:
    messages = [{"role": "user", "content": question}]
    return client.chat.completions.create(model="gpt-4o", messages=messages).choices[0].message.content


def main() -> None:
    client = openai.OpenAI()
    rlm_otel.instrument_openai(client)
    with client, rlm_otel.conversation("evening-news"), rlm_otel.run("digest", input=LINES) as run:
        with rlm_otel.prompt("summary", "1"):
            answers = [ask(client, f"In three words: {line}") for line in LINES]
        run.result(answers)
    print("\n".join(answers))
    rlm_otel.feedback(run, "length", len(answers[0].split()) <= 3, label="short")


if __name__ == "__main__":
    main()
