"""Which flows a file defines, read from its syntax: no import, so no dependency and no side effect."""

import ast
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from governor.errors import BadInput


@dataclass(frozen=True)
class FlowSignature:
    """The name and the parameters of one flow. `open_ended` when it takes `**kwargs`."""

    name: str
    parameters: tuple[str, ...]
    required: tuple[str, ...]
    open_ended: bool


def flows_in(path: Path) -> dict[str, FlowSignature]:
    """Every function of the file that is decorated with `@flow`, by name.

    Raises:
        BadInput: the file cannot be read or is not Python.
    """
    try:
        seen = path.stat()
        return dict(_flows_of(path, seen.st_mtime_ns, seen.st_size))
    except (OSError, ValueError, SyntaxError) as error:
        raise BadInput(
            f"The flow file {path.name} cannot be read: {error}.",
            means="Nothing was deployed.",
            remedy="Correct the file and run the command again.",
        ) from error


@lru_cache(maxsize=256)
def _flows_of(path: Path, _mtime_ns: int, _size: int) -> dict[str, FlowSignature]:
    """Of the file as it is now: fifty entries share a dozen files."""
    tree = ast.parse(path.read_text(), filename=str(path))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {
        node.name: _signature(_name(node.name, decorator), node.args)
        for node in functions
        for decorator in filter(_is_flow, node.decorator_list)
    }


def _is_flow(decorator: ast.expr) -> bool:
    """`@flow`, `@flow(...)`, `@prefect.flow` and so on."""
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")) == "flow"


def _name(function: str, decorator: ast.expr) -> str:
    """As `@flow(name="...")` says it, else as Prefect makes it of the function's name."""
    keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
    said = [word.value.value for word in keywords if word.arg == "name" and isinstance(word.value, ast.Constant)]
    return str(said[0]) if said else function.replace("_", "-")


def _signature(name: str, arguments: ast.arguments) -> FlowSignature:
    plain = [argument.arg for argument in [*arguments.posonlyargs, *arguments.args]]
    required = plain[: len(plain) - len(arguments.defaults)]
    named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    required += [argument.arg for argument, default in named if default is None]
    keywords = [argument.arg for argument in arguments.kwonlyargs]
    return FlowSignature(name, tuple(plain + keywords), tuple(required), arguments.kwarg is not None)
