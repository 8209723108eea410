"""Which vendor answers at a host, by the name that the GenAI conventions give it."""

from typing import Final

_VENDORS: Final = (
    ("api.openai.com", "openai"),
    ("openai.azure.com", "azure.ai.openai"),
    ("cognitiveservices.azure.com", "azure.ai.openai"),
    ("services.ai.azure.com", "azure.ai.inference"),
    ("models.ai.azure.com", "azure.ai.inference"),
    ("inference.ai.azure.com", "azure.ai.inference"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("api.groq.com", "groq"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.deepseek.com", "deepseek"),
    ("api.x.ai", "x_ai"),
    ("api.perplexity.ai", "perplexity"),
    ("api.moonshot.ai", "moonshot_ai"),
    ("api.moonshot.cn", "moonshot_ai"),
    ("api.cohere.ai", "cohere"),
    ("api.cohere.com", "cohere"),
    # Not in the conventions' list: the vendor's own word, lower case.
    ("openrouter.ai", "openrouter"),
    ("api.together.xyz", "together"),
    ("api.together.ai", "together"),
    ("api.fireworks.ai", "fireworks"),
    ("api.cerebras.ai", "cerebras"),
)


def provider_of(host: str | None) -> str | None:
    """`gen_ai.provider.name` for a host such as `api.groq.com`; None where it is unknown (a proxy, a local server)."""
    if not host:
        return None
    name = host.lower().rstrip(".")
    if name.startswith("bedrock-runtime.") and name.endswith(".amazonaws.com"):
        return "aws.bedrock"
    if name.endswith("-aiplatform.googleapis.com"):  # a region is written before the dash
        return "gcp.vertex_ai"
    return next((vendor for end, vendor in _VENDORS if name == end or name.endswith("." + end)), None)
