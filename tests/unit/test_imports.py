"""Imports point one way: flows -> blocks -> governor, deployments -> blocks, governor; policy is pure."""

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"flows", "blocks", "governor", "deployments"}
ALLOWED = {
    "governor": {"governor"},
    "blocks": {"blocks", "governor"},
    "flows": {"flows", "blocks", "governor"},
    "deployments": {"deployments", "blocks", "governor"},
}
PURE = {
    "governor",
    "pydantic",
    "collections",
    "dataclasses",
    "datetime",
    "enum",
    "math",
    "re",
    "statistics",
    "typing",
    "zoneinfo",
    "itertools",
    "array",
    "uuid",
    "zlib",
}
# One edge each: everybody else would pay for the import at every start.
EDGES = {
    "litellm": {"governor/inference.py"},
    "pynvml": {"governor/sensors/gpu.py"},
    "xllamacpp": {"governor/engines/embedded_child.py"},
}


def modules(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_point_one_way(package: str):
    for path in (ROOT / package).rglob("*.py"):
        ours = {name.split(".")[0] for name in modules(path)} & OURS
        assert ours <= ALLOWED[package], path


def test_the_policy_is_pure():
    for path in (ROOT / "governor" / "policy").glob("*.py"):
        names = modules(path)
        assert {name.split(".")[0] for name in names} <= PURE, path
        assert all(n.startswith("governor.policy") for n in names if n.startswith("governor")), path


@pytest.mark.parametrize("heavy", sorted(EDGES))
def test_heavy_imports_stay_at_their_edge(heavy: str):
    users = {
        str(path.relative_to(ROOT))
        for package in OURS
        for path in (ROOT / package).rglob("*.py")
        if heavy in {name.split(".")[0] for name in modules(path)}
    }
    assert users <= EDGES[heavy]


def test_the_governor_knows_prefect_only_as_the_keeper_of_leases_of_the_schedule_and_of_events():
    users = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "governor").rglob("*.py")
        if "prefect" in {name.split(".")[0] for name in modules(path)}
    }
    keepers = ("lease", "mirror", "stuck", "requeue", "schedule", "rung_events")
    assert users <= {f"governor/{name}.py" for name in keepers}


def test_no_flow_file_hides_a_module_that_it_or_prefect_imports():
    """Prefect puts `flows/` first on sys.path (a flow file named `statistics.py` hides the standard one)."""
    taken = sys.stdlib_module_names | OURS | set(packages_distributions())
    assert not {path.stem for path in (ROOT / "flows").glob("*.py")} & taken
