"""`hotdesk line`: in which order a line is served, and how an operator chooses another one.

What the orders mean and what bounds them is `governor.policy.ordering`.
"""

from pydantic import ValidationError

from governor.errors import BadInput
from governor.policy.lines import parse
from governor.policy.ordering import Order, OrderRules
from governor.rows import line_rules, order_key
from governor.settings import prepare_home
from governor.state.sessions import remember, store

MEANS = {
    Order.FIFO: "first come, first served",
    Order.AFFINITY: "a ticket for the model that was just used passes the others",
    Order.DEADLINE: "a ticket that would miss its due time, and can still make it, passes the others",
}


def run_line(name: str, *, order: str | None, overtakes: int | None, never_after_seconds: float | None) -> str:
    """Choose an order if one is given; says which is in force.

    Raises:
        BadInput: no such line or order, or a bound that makes no sense; nothing was changed.
    """
    prepare_home()
    try:
        parse(name)
        with store().look() as db:
            rules = line_rules(db, name)
        chosen = {"order": order, "overtakes_at_most": overtakes, "never_after_seconds": never_after_seconds}
        given = {key: value for key, value in chosen.items() if value is not None}
        if given:
            rules = OrderRules.model_validate({**rules.model_dump(), **given})
            remember(order_key(name), rules.model_dump_json())
    except (ValueError, ValidationError) as error:
        raise BadInput(
            f"The line's order cannot be set like that: {_plain(error)}.",
            means="The order stays as it was.",
            remedy=f"Orders are {', '.join(Order)}; a line is gpu, cpu, gpu:1 or gpu:HOST:0.",
        ) from error
    return _said(name, rules)


def _said(name: str, rules: OrderRules) -> str:
    said = f"{name}: {rules.order}, {MEANS[rules.order]}"
    if rules.order is Order.FIFO:
        return said
    return (
        f"{said}; a ticket is overtaken {rules.overtakes_at_most} times at most,"
        f" and never when older than {rules.never_after_seconds:.0f} s"
    )


def _plain(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return str(error)
