"""What a model's layers keep of the context, from the keys of its GGUF header. Pure.

The rules are llama.cpp's (src/llama-hparams.cpp, src/llama-kv-cache.cpp, src/models/*.cpp). Where it is not known
what an architecture does, more memory is counted, never less.
"""

from collections.abc import Mapping
from typing import Any

# llama.cpp refuses more than 512 layers; no number that counts here comes near the other one.
MOST_LAYERS = 512
LARGEST = 1 << 32
# Every n-th layer keeps the whole context, the others a window (src/models/*.cpp, load_swa_pattern); the header's
# own pattern has the last word. 0: only the header knows. An architecture that is missing here is counted as if
# every layer kept the whole context, also phi3 (its windows are disabled in llama.cpp) and llama4 (chunks).
PERIODS = {
    "afmoe": 4,
    "cohere2": 4,
    "exaone-moe": 4,
    "gemma-embedding": 6,
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gemma4": 0,
    "gpt-oss": 2,
    "granite-swa": 0,
    "maple": 0,
    "mellum": 4,
    "mimo2": 0,
    "muse-glimmer": 4,
    "olmo2": 4,
    "plamo3": 8,
    "step35": 0,
}
# The same, but the first of n keeps the whole context and not the last.
WHOLE_FIRST = {"cohere2moe": 4, "laguna": 4, "modern-bert": 3}
# gemma3n: the layers from the 20th on use the keys and values of an earlier one (src/models/gemma3n.cpp).
GEMMA3N_OWN_LAYERS = 20


class Unclear(Exception):
    """The keys do not say enough, or something impossible."""


def number(value: Any) -> int:
    """`value` as a count; 0 where it is missing. Raises Unclear for what is no count."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < LARGEST:
        raise Unclear(f"{value!r} is no count")
    return value


def feed_forward_width(architecture: str, keys: Mapping[str, Any]) -> int:
    """Values inside the widest layer while it works, of a mixture those of all experts that work at once; 0: unsaid."""
    said = keys.get(f"{architecture}.feed_forward_length")
    dense = max((number(one) for one in said), default=0) if isinstance(said, list | tuple) else number(said)
    expert = number(keys.get(f"{architecture}.expert_feed_forward_length"))
    return max(dense, expert * number(keys.get(f"{architecture}.expert_used_count")))


def key_value_width(architecture: str, keys: Mapping[str, Any]) -> tuple[int, ...]:
    """For each layer the values that it keeps of a token, keys and values together; 0 where it keeps none.

    The state of a recurrent layer does not grow with the context and is not counted (some 2 MiB a layer).
    """
    layers = _layers(architecture, keys)
    heads = _by_layer(keys.get(f"{architecture}.attention.head_count"), [0] * layers)
    if not any(heads):
        return (0,) * layers
    groups = _by_layer(keys.get(f"{architecture}.attention.head_count_kv"), heads)
    whole, windowed = _head_widths(architecture, keys, heads[0])
    own = _own_layers(architecture, keys, layers)
    windows = window_tokens(architecture, keys)
    return tuple(
        group * (windowed if window else whole) if layer in own else 0
        for layer, (group, window) in enumerate(zip(groups, windows, strict=True))
    )


def window_tokens(architecture: str, keys: Mapping[str, Any]) -> tuple[int, ...]:
    """For each layer how many tokens back it looks, 0 where it keeps the whole context."""
    layers = _layers(architecture, keys)
    window = number(keys.get(f"{architecture}.attention.sliding_window"))
    if not window:
        return (0,) * layers
    return tuple(window if flag else 0 for flag in _windowed(architecture, keys, layers))


def _windowed(architecture: str, keys: Mapping[str, Any], layers: int) -> list[bool]:
    """For each layer whether it keeps a window only."""
    if architecture not in PERIODS and architecture not in WHOLE_FIRST:
        return [False] * layers
    pattern = keys.get(f"{architecture}.attention.sliding_window_pattern")
    if isinstance(pattern, list | tuple):
        if len(pattern) < layers:
            raise Unclear("it lists fewer layers than it has")
        return [bool(flag) for flag in pattern[:layers]]
    period = number(pattern) or PERIODS.get(architecture) or WHOLE_FIRST.get(architecture)
    if not period:
        return [False] * layers
    whole = 0 if architecture in WHOLE_FIRST else period - 1
    return [layer % period != whole for layer in range(layers)]


def _head_widths(architecture: str, keys: Mapping[str, Any], heads: int) -> tuple[int, int]:
    """Values that a head keeps of a token, in a layer of the whole context and in one of a window."""

    def size(name: str, default: int) -> int:
        return number(keys.get(f"{architecture}.attention.{name}")) or default

    per_head = number(keys.get(f"{architecture}.embedding_length")) // heads if heads else 0
    key, value = size("key_length", per_head), size("value_length", per_head)
    if not key or not value:
        raise Unclear("it does not say how wide a head is")
    if size("key_length_mla", 0) and size("value_length_mla", 0):
        return key, key  # one compressed vector stands for both (src/llama-kv-cache.cpp: has_v = !is_mla)
    return key + value, size("key_length_swa", key) + size("value_length_swa", value)


def _own_layers(architecture: str, keys: Mapping[str, Any], layers: int) -> range | set[int]:
    """The layers that keep something: not those that share with an earlier one, nor recurrent ones."""
    if architecture == "gemma3n":
        return range(GEMMA3N_OWN_LAYERS)
    every = number(keys.get(f"{architecture}.full_attention_interval"))
    if every:
        return {layer for layer in range(layers) if (layer + 1) % every == 0}
    return range(layers - min(layers, number(keys.get(f"{architecture}.attention.shared_kv_layers"))))


def _layers(architecture: str, keys: Mapping[str, Any]) -> int:
    layers = number(keys.get(f"{architecture}.block_count"))
    if not 1 <= layers <= MOST_LAYERS:
        raise Unclear(f"it says that it has {layers} layers")
    return layers


def _by_layer(value: Any, default: list[int]) -> list[int]:
    """One number for each layer, from one for all or a list; the default where the key is missing."""
    if value is None:
        return default
    listed = list(value) if isinstance(value, list | tuple) else [value] * len(default)
    if len(listed) < len(default):
        raise Unclear("it lists fewer layers than it has")
    return [number(one) for one in listed[: len(default)]]
