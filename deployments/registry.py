"""Where a package's wheel is, and as a last resort the wheel itself, both asked of pip.

pip knows the machine's registry, proxy, certificates and passwords; nothing here names a host.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from governor.errors import NotReady

# One package, no dependencies: 1-2 s when the registry serves metadata, the wheel's own time if not.
RESOLVE_SECONDS = 120.0
DOWNLOAD_SECONDS = 1800.0
# Offline must be said soon, so pip asks once more and waits this long for an answer.
PIP = ("--disable-pip-version-check", "--no-input", "--retries", "1", "--timeout", "15")


class Registry:
    """The registry that pip is set to on this machine."""

    def address(self, requirement: str) -> str:
        """Address of the wheel of `NAME==VERSION`.

        Raises:
            NotReady: offline, or the registry does not have it.
        """
        report = _pip(
            ["install", "--dry-run", "--ignore-installed", "--no-deps", "--only-binary", ":all:"],
            ["--report", "-", "-q", requirement],
            seconds=RESOLVE_SECONDS,
        )
        try:
            found: Any = json.loads(report)["install"][0]["download_info"]["url"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise _unreachable(requirement, "pip's report names no address") from error
        return str(found)

    def download(self, requirement: str, target: Path) -> None:
        """The wheel itself, by pip, put in place whole.

        Raises:
            NotReady: offline, the registry does not have it, or the disk is full.
        """
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="pip-") as folder:
            options = ["download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
            _pip(options, ["-q", "--dest", folder, requirement], seconds=DOWNLOAD_SECONDS)
            wheels = list(Path(folder).glob("*.whl"))
            if not wheels:
                raise _unreachable(requirement, "pip brought no wheel")
            wheels[0].replace(target)


def _pip(options: list[str], more: list[str], *, seconds: float) -> str:
    requirement = more[-1]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip", *options, *PIP, *more],
            capture_output=True,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PIP_REQUIRE_VIRTUALENV": "false"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unreachable(requirement, type(error).__name__) from error
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        raise _unreachable(requirement, said[-1].removeprefix("ERROR: ") if said else "pip failed")
    return done.stdout


def _unreachable(requirement: str, why: str) -> NotReady:
    return NotReady(
        f"The weights ({requirement}) cannot be fetched: {why.rstrip('.')}.",
        means="Nothing was started.",
        remedy="Check the network and the registry that pip is set to, then run the command again"
        " (`hotdesk fetch`). Or put the file into the `weights` folder of the state folder yourself.",
    )
