"""`SimpleLogger`: one printed line for each prompt, answer and error."""

from typing import Final, Literal, get_args

from rlm_otel.callbacks.base import BaseCallback
from rlm_otel.callbacks.printing import plain, write_line
from rlm_otel.callbacks.response import Response
from rlm_otel.content import without_secrets

Language = Literal["en", "ru"]

_WORDS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "prompt": "📤 Sending prompt ({} characters)",
        "answer": "📥 Received ({} tokens)",
        "uncounted": "📥 Received (tokens not reported)",
        "error": "❌ Error: {}",
    },
    "ru": {
        "prompt": "📤 Отправка промпта ({} символов)",
        "answer": "📥 Получено ({} токенов)",
        "uncounted": "📥 Получено (токены не указаны)",
        "error": "❌ Ошибка: {}",
    },
}


def checked_language(language: str) -> Language:
    """The language, if it is one that our callbacks speak; else ValueError."""
    for known in get_args(Language):
        if language == known:
            return known  # type: ignore[no-any-return]  # get_args loses the type
    raise ValueError(f"language={language!r} is not known; use one of: {', '.join(get_args(Language))}.")


class SimpleLogger(BaseCallback):
    """Prints the length of each prompt, the tokens of each answer, and errors. `language`: `en` or `ru`."""

    def __init__(self, *, language: Language = "en") -> None:
        self._words = _WORDS[checked_language(language)]

    def on_llm_start(self, prompt: str, **kwargs: object) -> None:
        """Prints how long the prompt is."""
        write_line(self._words["prompt"].format(len(prompt)))

    def on_llm_end(self, response: Response, **kwargs: object) -> None:
        """Prints how many tokens were used."""
        words = self._words["answer" if response.reported else "uncounted"]
        write_line(words.format(response.usage.total_tokens))

    def on_error(self, error: BaseException, **kwargs: object) -> None:
        """Prints the error."""
        write_line(self._words["error"].format(plain(without_secrets(str(error)))))
