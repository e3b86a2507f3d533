"""What a fork server imports before it forks, and how to see that it is out of date.

Nothing here may start a thread or open a connection: `offences` says what did. A flow file that cannot be imported is
left to the run itself, which fails then with its error, as it would under any worker.
"""

import gc
import hashlib
import importlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from governor import inference

# What a run comes to import on its way, found by comparing sys.modules before and after runs of each kind.
MODULES = (
    "anyio._backends._asyncio",
    "sqlalchemy.dialects.sqlite",
    "websockets.asyncio.client",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect.deployments.steps.core",
    "prefect.deployments.steps.pull",
    "prefect.events.clients",
    "prefect._internal.observers",
    "prefect.logging.handlers",
    "deployments.forking.child",
    "governor.desk",
    "governor.engines.embedded",
    "governor.engines.ollama",
    "governor.engines.llama_server",
    "blocks.agent",
    # What reads and writes; each run needs one or two of them.
    "charset_normalizer",
    "cryptography.x509",
    "dateutil.rrule",
    "defusedxml.ElementTree",
    "icalendar",
    "markdown_it",
    "packaging.requirements",
    "pypdf",
    "recurring_ical_events",
    "rich._emoji_codes",
)
PACKAGES = ("flows", "blocks", "governor", "deployments")
Flows = dict[tuple[str, str], Any]
_log = logging.getLogger("hotdesk.forking")


def preload(root: Path) -> Flows:
    """Import all of it; the flows of `root`/flows by file and function.

    A file is imported as Prefect would: under its stem, with its folder first on the path.
    """
    for name in MODULES:
        importlib.import_module(name)
    inference.preload()
    path = [*sys.path]
    flows = {key: flow for file in _flow_files(root) for key, flow in _flows_of(file)}
    sys.path[:] = [str(root / "flows"), str(root), *(entry for entry in path if entry not in (str(root), ""))]
    gc.collect()
    gc.freeze()  # the collector of a child must not touch, and so copy, what it shares
    return flows


def _flow_files(root: Path) -> list[Path]:
    """The fleet's, and those that HOTDESK_PRELOAD names (absolute paths, as in PATH)."""
    more = [Path(name) for name in os.environ.get("HOTDESK_PRELOAD", "").split(os.pathsep) if name]
    return [*sorted((root / "flows").glob("*.py")), *more]


def _flows_of(file: Path) -> Iterator[tuple[tuple[str, str], Any]]:
    from prefect.flows import Flow
    from prefect.utilities.importtools import load_script_as_module

    try:
        module = load_script_as_module(str(file))
    except Exception as error:
        _log.warning("%s is not preloaded: %r", file.name, error)
        return
    for name, found in vars(module).items():
        if isinstance(found, Flow) and found.fn.__module__ == module.__name__:
            yield (str(file), name), found


def fingerprint(root: Path) -> str:
    """Changes whenever a file of ours does: names, sizes and times of modification of all Python files."""
    seen = hashlib.sha256()
    for file in _flow_files(root):
        seen.update(_mark(file))
    for package in PACKAGES:
        for folder, folders, files in os.walk(root / package):
            folders[:] = sorted(name for name in folders if name != "__pycache__" and name != "samples")
            for name in sorted(files):
                if name.endswith((".py", ".yaml")):
                    seen.update(_mark(f"{folder}/{name}"))
    return seen.hexdigest()


def _mark(file: Path | str) -> bytes:
    try:
        found = os.stat(file)  # noqa: PTH116 - twice as fast, for 300 files with every run
    except OSError:  # removed between the list and the look
        return b""
    return f"{file} {found.st_mtime_ns} {found.st_size}\n".encode()


def offences(link: int) -> list[str]:
    """What would not survive a fork: threads beside this one, sockets that are not the link (a descriptor)."""
    threads = [f"thread {thread.name}" for thread in threading.enumerate() if thread is not threading.main_thread()]
    return threads + [f"descriptor {number}: {what}" for number, what in _sockets() if number not in (0, 1, 2, link)]


def _sockets() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc/self/fd").iterdir():
        try:
            what = str(entry.readlink())
        except OSError:  # the one that listed them
            continue
        if what.startswith(("socket:", "anon_inode:")):
            yield int(entry.name), what
