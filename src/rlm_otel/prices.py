"""What a model call costs: by the user's own prices, else by genai-prices' list, looked up once a day for a model."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Final

from rlm_otel.outcome import Cost, Unpriced, Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, PriceCalculation

_VENDORS: Final = {
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "aws.bedrock": "aws",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "x_ai": "x-ai",
}
"""`gen_ai.provider.name` -> genai-prices' word for it, where they differ."""
_PER_TOKEN: Final = {"input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok"}
_NEVER_COUNTED: Final = {"cache_write_1h_mtok", "cache_write_5m_mtok", "storage_searches_kcount", "web_searches_kcount"}
"""Prices of things that no usage of ours counts."""
_DAY_S: Final = 86_400
_MOST_MODELS: Final = 1_000
"""How many prices are remembered: model names may come from an application's users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A model's own price, in USD per million tokens, the same at each service tier.

    `cached_input` and `cache_write` are for input tokens read from and written to the vendor's cache; None = as other
    input. Reasoning tokens are output tokens.
    """

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.default is None:
                continue
            fits = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
            if not fits or not 0 <= float(value) < math.inf:
                raise ValueError(f"{field.name}={value!r} is no price: write USD per million tokens, such as 2.5.")
            object.__setattr__(self, field.name, float(value))

    def usd(self, usage: Usage) -> float | None:
        """The cost; None where a count that has a price is missing, or the counts contradict each other."""
        if (self.input and usage.input_tokens is None) or (self.output and usage.output_tokens is None):
            return None
        read = 0 if self.cached_input is None else usage.cache_read_tokens or 0
        written = 0 if self.cache_write is None else usage.cache_write_tokens or 0
        plain = (usage.input_tokens or 0) - read - written
        if plain < 0:
            return None
        cached = read * (self.cached_input or 0.0) + written * (self.cache_write or 0.0)
        return (plain * self.input + cached + (usage.output_tokens or 0) * self.output) / 1e6


@dataclass(frozen=True, slots=True)
class _Listed:
    """A model whose price depends on the count, the hour or the modality: genai-prices works out each call anew."""

    vendor: str
    model: str

    def usd(self, usage: Usage, tier: str | None, now_s: float) -> float | None:
        counts = {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_read_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "output_reasoning_tokens": usage.reasoning_tokens,
            **{f"input_{modality}_tokens": tokens for modality, tokens in usage.input_by},
            **{f"output_{modality}_tokens": tokens for modality, tokens in usage.output_by},
        }
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        try:
            return float(_calculate(self.vendor, self.model, tier, now_s, counts).total_price)
        except (
            LookupError,
            ValueError,
        ):  # counts that contradict each other, or do not say which of the cached tokens were audio
            return None


class PriceList:
    """Prices calls. Safe to use from many threads, never asks the network.

    `prices` come before the list. They map a model's name to a `Price`, to a mapping with the fields of one, or to the
    name of the model that it really is, with the vendor in front where that is another one:
    `{"our-deployment": "gpt-4o", "our-proxy": "anthropic/claude-opus-4-5", "our-model": Price(input=1, output=2)}`.
    `now`: seconds since 1970.
    """

    def __init__(
        self,
        prices: Mapping[str, "str | Price | Mapping[str, float | None]"] | None = None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        given = {model: _given(model, price) for model, price in (prices or {}).items()}
        self._own = {model: _follow(model, given) for model in given}
        self._now = now
        # Reading and writing one key of a dict is atomic; two threads may at worst look the same price up twice.
        self._found: dict[tuple[str, str, str | None, bool], tuple[int, Price | _Listed | None]] = {}

    def cost(
        self,
        provider: str,
        model: str,
        usage: Usage | None,
        service_tier: str | None = None,
        *,
        requested: str | None = None,
    ) -> Cost | Unpriced:
        """What the call cost, or why that is unknown.

        `provider`: as in `gen_ai.provider.name`. `model`: what the reply says that it was, else what was asked for.
        `requested`: what was asked for; only the user's own prices are looked up by it. `service_tier`: the reply's.
        """
        if usage is None:
            return Unpriced("no_usage")
        price = self._price(provider, model, service_tier, requested)
        if price is None:
            return Unpriced("no_price")
        usd = price.usd(usage) if isinstance(price, Price) else price.usd(usage, service_tier, self._now())
        return Unpriced("no_usage") if usd is None else Cost(usd, "local")

    def knows(self, provider: str, model: str) -> bool:
        """Whether calls of this model can be priced, given their usage."""
        return self._price(provider, model, None, None) is not None

    def _price(self, provider: str, model: str, tier: str | None, requested: str | None) -> "Price | _Listed | None":
        own = self._own.get(requested or model) or self._own.get(model)
        if isinstance(own, Price):
            return own
        key = (provider, own or model, tier, own is not None)
        today = int(self._now() // _DAY_S)
        known = self._found.get(key)
        # Listed prices change at the start of a day (UTC), and the application may have the list updated.
        if known is not None and known[0] == today:
            return known[1]
        if len(self._found) >= _MOST_MODELS:
            self._found.clear()
        found = self._look_up(*key)
        self._found[key] = (today, found)
        return found

    def _look_up(self, provider: str, model: str, tier: str | None, alias: bool) -> "Price | _Listed | None":
        found = _listed(provider, model, tier, self._now())
        vendor, slash, name = model.partition("/")
        if found is None and alias and slash:
            return _listed(vendor, name, tier, self._now())
        return found


@cache
def default_prices() -> PriceList:
    """The price list of whoever has no prices of their own, one a process."""
    return PriceList()


def _given(model: str, price: object) -> Price | str:
    """The user's entry, checked."""
    if isinstance(price, Price) or (isinstance(price, str) and price):
        return price
    if not isinstance(price, Mapping):
        raise ValueError(
            f"prices[{model!r}] = {price!r} is no price: write the name of another model, "
            "or Price(input=..., output=...) in USD per million tokens."
        )
    known = [field.name for field in fields(Price)]
    odd = [str(key) for key in price if key not in known]
    missing = [name for name in ("input", "output") if name not in price]
    if odd or missing:
        what = f"does not know {', '.join(odd)}" if odd else f"lacks {' and '.join(missing)}"
        raise ValueError(f"prices[{model!r}] {what}: write input and output, and if wanted {' and '.join(known[2:])}.")
    try:
        return Price(**price)
    except ValueError as error:
        raise ValueError(f"prices[{model!r}]: {error}") from None


def _follow(model: str, given: Mapping[str, Price | str]) -> Price | str:
    """The price at the end of a chain of names, or the last name in it."""
    seen = [model]
    price = given[model]
    while isinstance(price, str) and price in given:
        if price in seen:
            raise ValueError(f"prices go round in a circle: {' -> '.join([*seen, price])}. Give one of them a Price.")
        seen.append(price)
        price = given[price]
    return price


def _listed(provider: str, model: str, tier: str | None, now_s: float) -> Price | _Listed | None:
    vendor = _VENDORS.get(provider, provider)
    try:
        found = _calculate(vendor, model, tier, now_s, {})
    except LookupError:
        return None
    # genai-prices also guesses vendors from parts of a name; a local server named `my-openai` must not cost anything.
    if found.provider.id != vendor or not any(vars(found.model_price).get(key) is not None for key in _PER_TOKEN):
        return None
    return _fixed(found.model_price) if _is_fixed(found) else _Listed(vendor, model)


def _calculate(
    vendor: str, model: str, tier: str | None, now_s: float, counts: Mapping[str, int | None]
) -> "PriceCalculation":
    from genai_prices import Usage as Counts  # its import takes a tenth of a second
    from genai_prices import calc_price

    return calc_price(
        Counts(**counts),
        model,
        provider_id=vendor,
        genai_request_timestamp=datetime.fromtimestamp(now_s, UTC),
        price_context={"service_tier": tier} if tier else None,
    )


def _is_fixed(found: "PriceCalculation") -> bool:
    """Whether a token costs the same in every call of the day, whatever the hour and the number of tokens."""
    rates = {key: rate for key, rate in vars(found.model_price).items() if rate is not None}
    return (
        rates.keys() <= _PER_TOKEN | _NEVER_COUNTED
        and all(isinstance(rate, Decimal) for rate in rates.values())
        and not _depends_on_hour(found.model)
    )


def _depends_on_hour(model: "ModelInfo") -> bool:
    from genai_prices.types import TimeOfDateConstraint

    prices = model.prices if isinstance(model.prices, list) else []
    conditions = [*prices, *(model.price_variants or ())]
    return any(isinstance(condition.constraint, TimeOfDateConstraint) for condition in conditions)


def _fixed(price: "ModelPrice") -> Price:
    rates = {key: float(rate) for key, rate in vars(price).items() if isinstance(rate, Decimal)}
    return Price(
        input=rates.get("input_mtok", 0.0),
        output=rates.get("output_mtok", 0.0),
        cached_input=rates.get("cache_read_mtok"),
        cache_write=rates.get("cache_write_mtok"),
    )
