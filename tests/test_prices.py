"""Prices: the user's own first, then the public list; cached, tiered and unknown ones; never a guess."""

import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest

from rlm_otel.outcome import Cost, Unpriced, Usage
from rlm_otel.prices import Price, PriceList

NOVEMBER = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CALL = Usage(input_tokens=1_000_000, output_tokens=100_000)


def price_list(prices: Mapping[str, str | Price | Mapping[str, float | None]] | None = None) -> PriceList:
    return PriceList(prices, now=NOVEMBER.timestamp)


def usd(cost: Cost | Unpriced) -> float:
    assert isinstance(cost, Cost)
    return cost.usd


def test_listed_model_costs_what_the_list_says() -> None:
    """Input and output are priced apart; the source says that a list was asked, not the vendor."""
    assert price_list().cost("openai", "gpt-4o", CALL) == Cost(3.5, "local")
    assert price_list().cost("openai", "gpt-4o-2024-08-06", CALL) == Cost(3.5, "local")


def test_scenario_2_cached_tokens_are_priced_once_and_as_cached() -> None:
    """Of a million input tokens 400 000 were cached: the rest costs the full price, the cached ones half of it."""
    usage = Usage(input_tokens=1_000_000, output_tokens=0, cache_read_tokens=400_000)
    assert usd(price_list().cost("openai", "gpt-4o", usage)) == pytest.approx(0.6 * 2.5 + 0.4 * 1.25)


def test_reasoning_tokens_are_inside_output() -> None:
    """Naming the reasoning part of the output changes no price."""
    usage = Usage(input_tokens=0, output_tokens=1_000_000, reasoning_tokens=900_000)
    assert price_list().cost("openai", "gpt-4o", usage) == Cost(10.0, "local")


def test_scenario_12_service_tier_of_the_reply_counts() -> None:
    """OpenAI's flex tier is half the price, priority dearer, an unknown tier the standard price."""
    prices = price_list()
    tiers = ("default", "flex", "priority", "no-such-tier", None)
    costs = {tier: usd(prices.cost("openai", "gpt-5", CALL, tier)) for tier in tiers}
    assert costs == {"default": 2.25, "flex": 1.125, "priority": 4.5, "no-such-tier": 2.25, None: 2.25}


def test_price_that_depends_on_the_count_is_exact() -> None:
    """Above 200 000 input tokens Gemini 2.5 Pro costs more, for all of them: no call is priced like the one before."""
    prices = price_list()
    small = Usage(input_tokens=100_000, output_tokens=1_000)
    large = Usage(input_tokens=300_000, output_tokens=1_000)
    assert usd(prices.cost("gcp.gemini", "gemini-2.5-pro", small)) == pytest.approx(0.125 + 0.01)
    assert usd(prices.cost("gcp.gemini", "gemini-2.5-pro", large)) == pytest.approx(0.75 + 0.015)


def test_price_with_a_fee_for_each_request_includes_it() -> None:
    """Perplexity takes 12 USD per thousand requests on top of the tokens."""
    usage = Usage(input_tokens=1_000, output_tokens=1_000)
    assert usd(price_list().cost("perplexity", "sonar", usage)) == pytest.approx(0.014)


@pytest.mark.parametrize(
    ("provider", "vendor", "model"),
    [
        ("openai", "openai", "gpt-4o-mini"),
        ("openai", "openai", "o3"),
        ("azure.ai.openai", "azure", "gpt-4o"),
        ("anthropic", "anthropic", "claude-sonnet-4-5"),
        ("gcp.gemini", "google", "gemini-2.5-flash"),
        ("groq", "groq", "llama-3.3-70b-versatile"),
        ("deepseek", "deepseek", "deepseek-chat"),
        ("mistral_ai", "mistral", "mistral-large-latest"),
        ("x_ai", "x-ai", "grok-4"),
        ("openrouter", "openrouter", "openai/gpt-4o"),
    ],
)
def test_looked_up_price_agrees_with_the_lists_own_calculation(provider: str, vendor: str, model: str) -> None:
    """Looking up once and multiplying gives what genai-prices calculates for the same call."""
    usage = Usage(input_tokens=12_345, output_tokens=678, cache_read_tokens=1_000, reasoning_tokens=50)
    counts = genai_prices.Usage(input_tokens=12_345, output_tokens=678, cache_read_tokens=1_000)
    theirs = genai_prices.calc_price(counts, model, provider_id=vendor, genai_request_timestamp=NOVEMBER)
    assert usd(price_list().cost(provider, model, usage)) == pytest.approx(float(theirs.total_price), rel=1e-12)


def test_price_that_changes_on_a_day_is_looked_up_anew() -> None:
    """A price that the list dates from 12 October counts from then on, in one and the same list."""
    time = [datetime(2026, 10, 1, tzinfo=UTC).timestamp()]
    prices = PriceList(now=lambda: time[0])
    before = usd(prices.cost("openai", "gpt-5", CALL, "flex"))
    time[0] = NOVEMBER.timestamp()
    assert (before, usd(prices.cost("openai", "gpt-5", CALL, "flex"))) == (2.25, 1.125)


def test_missing_usage_is_unpriced() -> None:
    """No usage, or a priced count that is missing, or counts that contradict each other: no cost, never a guess."""
    prices = price_list({"own": Price(input=1, output=2, cached_input=0.5)})
    odd = Usage(input_tokens=5, output_tokens=1, cache_read_tokens=6)
    for usage in (None, Usage(input_tokens=5), Usage(output_tokens=5), Usage(reported_total=9), odd):
        assert prices.cost("openai", "gpt-4o", usage) == Unpriced("no_usage")
        assert prices.cost("openai", "own", usage) == Unpriced("no_usage")
        assert prices.cost("gcp.gemini", "gemini-2.5-pro", usage) == Unpriced("no_usage")


def test_embeddings_need_no_output_tokens() -> None:
    """A model that has no price for output is priced by its input alone."""
    assert price_list().cost("openai", "text-embedding-3-small", Usage(input_tokens=1_000_000)) == Cost(0.02, "local")


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "smollm2-135m"),
        ("openai", "my-gpt-4o-local"),
        ("openai", ""),
        ("my-openai-proxy", "gpt-4o"),  # genai-prices itself would take this vendor for OpenAI
        ("ollama", "gpt-oss-20b"),
        ("openai", "anthropic/claude-opus-4-5"),
    ],
)
def test_unknown_model_or_vendor_is_unpriced(provider: str, model: str) -> None:
    """What is on no list has no price, above all what runs on one's own machine."""
    assert price_list().cost(provider, model, CALL) == Unpriced("no_price")
    assert not price_list().knows(provider, model)


def test_own_price_comes_before_the_list() -> None:
    """The user's contract counts; a plain mapping is as good as a Price, Decimal as good as float."""
    prices = price_list(
        {"gpt-4o": Price(input=Decimal("1.5"), output=2), "наша-модель": {"input": 0, "output": 0}}  # type: ignore[arg-type]
    )
    assert prices.cost("openai", "gpt-4o", CALL, "flex") == Cost(1.7, "local")
    assert prices.cost("vllm", "наша-модель", CALL) == Cost(0.0, "local")
    assert prices.knows("vllm", "наша-модель")


def test_own_price_of_cache() -> None:
    """Cached and written tokens have their own price, or that of other input where none is given."""
    usage = Usage(input_tokens=1_000_000, output_tokens=0, cache_read_tokens=500_000, cache_write_tokens=100_000)
    prices = price_list({"a": Price(input=2, output=2, cached_input=0, cache_write=4), "b": Price(input=2, output=2)})
    assert usd(prices.cost("any", "a", usage)) == pytest.approx(0.4 * 2 + 0.1 * 4)
    assert usd(prices.cost("any", "b", usage)) == 2.0


def test_alias_is_priced_as_the_model_that_it_is() -> None:
    """A deployment costs what its base model costs, through several names, with the caller's vendor or another one."""
    prices = price_list(
        {"prod": "stage", "stage": "gpt-4o", "proxy": "openai/gpt-4o", "mine": "own", "own": {"input": 1, "output": 0}}
    )
    assert prices.cost("azure.ai.openai", "prod", CALL) == Cost(3.5, "local")
    assert prices.cost("litellm", "proxy", CALL) == Cost(3.5, "local")
    assert prices.cost("litellm", "mine", CALL) == Cost(1.0, "local")
    assert prices.cost("litellm", "prod", CALL) == Unpriced("no_price")


def test_own_price_is_found_by_the_requested_name() -> None:
    """The reply of a deployment names its base model; the user's price for the deployment still counts."""
    prices = price_list({"prod": Price(input=1, output=0)})
    assert prices.cost("openai", "gpt-4o", CALL, requested="prod") == Cost(1.0, "local")
    assert prices.cost("openai", "gpt-4o", CALL, requested="other") == Cost(3.5, "local")
    assert prices.cost("openai", "smollm2-135m", CALL, requested="gpt-4o") == Unpriced("no_price")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"m": 3},
            "prices['m'] = 3 is no price: write the name of another model, "
            "or Price(input=..., output=...) in USD per million tokens.",
        ),
        (
            {"m": ""},
            "prices['m'] = '' is no price: write the name of another model, "
            "or Price(input=..., output=...) in USD per million tokens.",
        ),
        (
            {"m": {"input": 1}},
            "prices['m'] lacks output: write input and output, and if wanted cached_input and cache_write.",
        ),
        (
            {"m": {"input": 1, "output": 1, "cache": 1}},
            "prices['m'] does not know cache: write input and output, and if wanted cached_input and cache_write.",
        ),
        (
            {"m": {"input": -1, "output": 1}},
            "prices['m']: input=-1 is no price: write USD per million tokens, such as 2.5.",
        ),
        (
            {"m": {"input": "1", "output": 1}},
            "prices['m']: input='1' is no price: write USD per million tokens, such as 2.5.",
        ),
        ({"a": "b", "b": "a"}, "prices go round in a circle: a -> b -> a. Give one of them a Price."),
    ],
)
def test_bad_prices_say_what_to_write(given: Mapping[str, str], said: str) -> None:
    """A wrong entry is an error at once, with the entry and the cure in it."""
    with pytest.raises(ValueError) as raised:
        price_list(given)
    assert str(raised.value) == said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), True, None])
def test_price_must_be_a_finite_number(value: float) -> None:
    """NaN, infinity, booleans and nothing are no prices."""
    with pytest.raises(ValueError, match="is no price: write USD per million tokens"):
        Price(input=1, output=value)


def test_many_threads_get_the_same_price() -> None:
    """The list may be shared: 16 threads, first use included, agree."""
    prices = price_list()
    with ThreadPoolExecutor(16) as pool:
        costs = set(pool.map(lambda _: prices.cost("openai", "gpt-4o", CALL), range(200)))
    assert costs == {Cost(3.5, "local")}


def test_remembered_prices_are_bounded() -> None:
    """Model names may come from users: only so many are remembered."""
    prices = price_list()
    for number in range(1_500):
        prices.cost("openai", f"no-such-model-{number}", CALL)
    assert len(prices._found) <= 1_000


def test_list_is_loaded_at_first_use() -> None:
    """Importing the module or making a list costs nothing: genai-prices is loaded when the first price is wanted."""
    program = (
        "import sys; from rlm_otel.prices import PriceList; p = PriceList({'a': 'gpt-4o'}); "
        "before = 'genai_prices' in sys.modules; p.knows('openai', 'a'); print(before, 'genai_prices' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]
