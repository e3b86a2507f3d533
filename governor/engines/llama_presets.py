"""What a model is told when llama-server loads it: a section of the router's INI file, and what its list says back.

The keys are llama.cpp's long options without their dashes, in the form in which the router repeats them, so
that what is wanted and what runs can be compared. Starts and asks nobody.
"""

import configparser
import os
import re
from pathlib import Path
from typing import Any

from governor.errors import BadInput, NotReady
from governor.gguf_header import says_pooling
from governor.policy.facts import ModelSpec
from governor.settings import home

# Names that the router repeats unchanged: it turns what follows a colon into capitals, and `*` is everybody.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")
RESERVED = ("default", "DEFAULT")
# The parser takes the rest of a line after these as a comment, wherever they stand.
COMMENT = re.compile(r"[;#\r\n]")
# Such a character in a value would begin a line of its own, or be lost.
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# How a context can be kept at the choice of who loads, best first.
CACHE_TYPES = ("f16", "q8_0")
# More layers than any model has: llama.cpp's own way to say all of them.
ALL_LAYERS = 999
# From here on a load says how many layers went to the card.
SAY_LAYERS = 4
# Seconds that a model gets to end by itself. It has nothing to save, and being killed takes 0.14 s on a card
# where ending by itself takes 0.16 to 0.32 s (measured), so it is killed at once.
STOP_SECONDS = 0


def weights_path(spec: ModelSpec) -> Path:
    """Where the weights of `spec` are."""
    return home().weights / spec.source


def section(spec: ModelSpec) -> dict[str, str]:
    """What the model of `spec` is started with.

    Raises:
        BadInput: its name or its cache type cannot be used. NotReady: its weights are missing, or lie where a
        section cannot say.
    """
    path = weights_path(spec)
    _refuse_unusable(spec, path)
    told = {
        "model": str(path),
        "ctx-size": str(spec.context_tokens * spec.engine_slots),
        "parallel": str(spec.engine_slots),
        "n-gpu-layers": str(ALL_LAYERS if spec.gpu_layers < 0 else spec.gpu_layers),
        "cache-type-k": spec.cache_type,
        "cache-type-v": spec.cache_type,
        "threads": str(spec.threads),
        # On by default it moves layers to the CPU when they do not fit: 16 times slower, and silent.
        "fit": "off",
        # By default old prompts stay in up to 8 GiB of memory that nobody admitted.
        "cache-ram": "0",
        # A second copy of the weights: a 7B Q4_0 takes 8.0 GB and 18 s to load with it, 4.3 GB and 2.9 s without.
        "repack": "false",
        "slots": "true",
        "metrics": "true",
        "stop-timeout": str(STOP_SECONDS),
    }
    told |= {"log-verbosity": str(SAY_LAYERS)} if spec.gpu_layers else {}
    return told | (_embedder(spec, path) if spec.embeds else {})


def _refuse_unusable(spec: ModelSpec, path: Path) -> None:
    """Raises as `section`."""
    if not NAME.fullmatch(spec.model) or spec.model in RESERVED:
        raise BadInput(
            f"The model name {spec.model!r} cannot be used with the engine llama_server.",
            remedy="Rename it in the profile: letters, digits and . _ / + -, with a letter or digit first.",
            model=spec.model,
        )
    if spec.cache_type not in CACHE_TYPES:
        raise BadInput(
            f"The engine llama_server cannot keep a context as {spec.cache_type!r}.",
            remedy=f"Use one of: {', '.join(CACHE_TYPES)}.",
            model=spec.model,
        )
    if not path.is_file() or not os.access(path, os.R_OK):
        raise _not_ready(path, "is missing or cannot be read", "Run `hotdesk fetch`, or put the file there.")
    if COMMENT.search(str(path)):
        raise _not_ready(path, "has a ; or # in its name", "Rename the file or the folder.")


def _embedder(spec: ModelSpec, path: Path) -> dict[str, str]:
    """A text is read at once or not at all; a file that does not say how its vectors become one: by their mean."""
    size = str(spec.context_tokens)
    told = {"embeddings": "true", "batch-size": size, "ubatch-size": size}
    return told if says_pooling(path) else told | {"pooling": "mean"}


def write(path: Path, model: str, told: dict[str, str]) -> None:
    """Put the section of one model into the file; every other section stays as it is. All or nothing.

    Raises:
        BadInput: something in it cannot stand in one line. NotReady: the file cannot be read or written.
    """
    for value in (model, *told, *told.values()):
        if CONTROL.search(value):
            raise BadInput(
                f"{value!r} cannot be told to llama-server: it has a control character.",
                remedy="Correct it in the profile.",
                model=model,
            )
    try:
        kept = _parsed(path.read_text())
        kept[model] = told
        draft = path.with_name(f".{path.name}")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text("\n".join(_lines(kept)) + "\n")
        draft.replace(path)
    except (OSError, ValueError, configparser.Error) as error:  # ValueError: not UTF-8
        raise _not_ready(path, f"cannot be used: {error}", "`hotdesk down` and `hotdesk up` write it anew.") from error


def empty(path: Path) -> None:
    """A file without models, for a router that starts: what it held was for a router that is gone. Raises OSError."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)


def told_to(entry: dict[str, Any]) -> dict[str, str]:
    """What a model of the router's list was started with, or would be now; empty when the list does not say."""
    try:
        parsed = _parsed(str(entry["status"]["preset"]))
        return parsed[next(iter(parsed))]
    except (KeyError, TypeError, StopIteration, configparser.Error):
        return {}


def same(told: dict[str, str], entry: dict[str, Any]) -> bool:
    """Whether a model of the list was told all of `told`."""
    return told.items() <= told_to(entry).items()


def _parsed(text: str) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=(";", "#"), default_section="")
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


def _lines(sections: dict[str, dict[str, str]]) -> list[str]:
    return [line for name, told in sections.items() for line in (f"[{name}]", *(f"{k} = {v}" for k, v in told.items()))]


def _not_ready(path: Path, what: str, remedy: str) -> NotReady:
    return NotReady(
        f"{path} {what}.", means="Nothing was loaded.", remedy=remedy, path=str(path), engine="llama_server"
    )
