"""`hotdesk doctor`: every check as one row, pass, warn or fail, each with its remedy. Looks, never repairs.

Needs no server and no network but loopback. A check that breaks becomes a failed row of its own.
"""

from collections.abc import Callable, Iterable

from deployments.checks import Check, cloud, failed, machine, prefect_server, state
from governor.settings import Home, home

Found = Check | Iterable[Check]


def checks(where: Home | None = None) -> list[Check]:
    """All rows, in the order in which a person would mend them."""
    where = where or home()
    plan: tuple[tuple[str, Callable[[], Found]], ...] = (
        ("python", machine.python),
        ("packages", machine.packages),
        ("state folder", lambda: state.folder(where)),
        ("database", lambda: state.database(where)),
        ("auth string", lambda: state.auth_file(where)),
        ("profile", machine.profile),
        ("host memory", machine.memory),
        ("gpu", machine.graphics),
        ("git", machine.git),
        ("ollama", machine.ollama_server),
        ("weights", lambda: state.weights(where)),
        ("cloud tiers", cloud.tiers),
        ("prefect.yaml", state.fleet),
        ("server", lambda: prefect_server.server_rows(where)),
        ("engines", lambda: state.engines(where)),
    )
    return [row for name, check in plan for row in rows_of(name, check)]


def rows_of(name: str, check: Callable[[], Found]) -> list[Check]:
    """The rows of one check."""
    try:
        found = check()
        return [found] if isinstance(found, Check) else list(found)
    except Exception as error:  # a broken check must not hide the others
        said = f"could not be checked: {type(error).__name__}: {error}"
        return [failed(name, said, "Mend the rows above first; report it if they all pass.")]
