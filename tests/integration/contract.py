"""How a line of the contract with Prefect's private pieces is written: a fact, its piece, and what of ours needs it."""

import inspect
from collections.abc import Callable
from types import CodeType
from typing import Any

import prefect


def hold(fact: object, piece: str, ours: str) -> None:
    """One line of the contract."""
    assert fact, f"Prefect {prefect.__version__}: {piece} is not what it was. What breaks here: {ours}"


def names_of(function: Callable[..., Any]) -> set[str]:
    """Every name that a function's code uses, those of functions within it too."""
    code = inspect.unwrap(function).__code__
    found, todo = set(), [code]
    while todo:
        one = todo.pop()
        found |= {*one.co_names, *one.co_freevars}
        todo += [each for each in one.co_consts if isinstance(each, CodeType)]
    return found
