"""Which installed packages are known to break without a word, read from their metadata: nothing is imported.

`hotdesk up` refuses them before it starts a server, `hotdesk doctor` shows them as rows. The bounds
themselves stand in `pyproject.toml`, each with its reason.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from governor.errors import NotReady

Installed = Callable[[str], str | None]
# Outside of their bounds they fail where nobody looks (measured): fastapi 0.151 answers 422 to a null,
# sqlalchemy 2.1 lets the server look healthy and schedule nothing.
BOUNDED = ("prefect", "fastapi", "sqlalchemy", "litellm", "nvidia-ml-py")
# Releases that were taken over: they carry somebody else's code.
COMPROMISED = {"litellm": ("1.82.7", "1.82.8", "1.107.0")}
# Until 12 the package `pynvml` brought a module of that name of its own, in the place of nvidia-ml-py's.
SHADOWING, HARMLESS_FROM = "pynvml", Version("12")
REINSTALL = "Run `make setup` in the checkout: it installs the versions of requirements.lock."


@dataclass(frozen=True)
class Finding:
    """One package: the version `found` (None: not installed), and what is `wrong` with it, '' for nothing."""

    name: str
    found: str | None
    wrong: str = ""
    remedy: str = ""


def installed(name: str) -> str | None:
    """The version in this environment, None without it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def bounds() -> dict[str, Requirement]:
    """What hotdesk itself asks for, by package; {} when it runs without being installed."""
    try:
        asked = map(Requirement, requires("hotdesk") or ())
    except PackageNotFoundError:
        return {}
    return {item.name.lower(): item for item in asked if item.marker is None}  # with one: an extra's


def findings(look: Installed = installed, asked: dict[str, Requirement] | None = None) -> list[Finding]:
    """Every package that can break silently, the sound ones too; the shadowing one only where it does harm."""
    known = bounds() if asked is None else asked
    return [*(_bounded(name, look(name), known.get(name)) for name in BOUNDED), *_shadowed(look(SHADOWING))]


def refuse_wrong_versions(look: Installed = installed, asked: dict[str, Requirement] | None = None) -> None:
    """Nothing, when all are sound.

    Raises:
        NotReady: a package is missing, outside its measured bounds or compromised. data: `packages`.
    """
    wrong = [item for item in findings(look, asked) if item.wrong]
    if wrong:
        raise NotReady(
            f"Installed packages that hotdesk cannot run with: {'; '.join(f'{x.name} {x.wrong}' for x in wrong)}.",
            means="Nothing was started: with them a server can look healthy and do nothing.",
            remedy=" ".join(dict.fromkeys(item.remedy for item in wrong)),
            packages=[item.name for item in wrong],
        )


def _bounded(name: str, found: str | None, bound: Requirement | None) -> Finding:
    if found is None:
        return Finding(name, found, "is not installed", REINSTALL)
    if found in COMPROMISED.get(name, ()):
        return Finding(
            name, found, f"{found} is a compromised release", f"{REINSTALL} Renew every secret this machine held."
        )
    if bound is not None and not _within(found, bound):
        return Finding(name, found, f"{found} is outside the measured bounds {bound.specifier}", REINSTALL)
    return Finding(name, found)


def _within(found: str, bound: Requirement) -> bool:
    try:
        return bound.specifier.contains(Version(found), prereleases=True)
    except InvalidVersion:
        return False


def _shadowed(found: str | None) -> list[Finding]:
    try:
        harmful = found is not None and Version(found) < HARMLESS_FROM
    except InvalidVersion:
        harmful = True
    if not harmful:
        return []
    remedy = "Remove it (`pip uninstall pynvml`), then run `make setup`: nvidia-ml-py brings the module."
    return [Finding(SHADOWING, found, f"{found} takes the place of nvidia-ml-py's module", remedy)]
