"""Checks of the state folder: the folder, its database, weights, auth string, engines; and prefect.yaml."""

import shutil
import sqlite3
from collections.abc import Iterator

import psutil
from sqlalchemy import select

from deployments.checks import Check, failed, passed, warned
from deployments.fleet import read_fleet
from deployments.weights import SMOLLM2, is_sound
from governor.errors import BadInput
from governor.processes import Identity, Life, identify, life
from governor.profile import current_profile
from governor.resident_rows import IN_MEMORY
from governor.settings import MIB, NEEDED_DISK_MIB, NETWORK_FILE_SYSTEMS, Home, file_system_of
from governor.state.migrations import MIGRATIONS
from governor.state.residents import Resident
from governor.state.sessions import reading

ENGINE_MODULES = "governor.engines."
ANOTHER_FOLDER = "Set HOTDESK_HOME to a folder on a local disk with enough space."


def folder(where: Home) -> Iterator[Check]:
    """Private, on a local file system, with space left."""
    kind = file_system_of(where.root)
    if kind in NETWORK_FILE_SYSTEMS:
        yield failed("file system", f"{where.root} is on {kind}, where SQLite's locks fail", ANOTHER_FOLDER)
    else:
        yield passed("file system", f"{where.root} is on {kind or 'a local disk'}")
    if not where.root.exists():
        yield passed("state folder", "not made yet; `hotdesk up` makes it")
        return
    mode = where.root.stat().st_mode & 0o777
    if mode & 0o077:
        yield warned("state folder", f"other users can look into it (mode {mode:o})", f"chmod 700 {where.root}")
    else:
        yield passed("state folder", "private")
    free_mib = shutil.disk_usage(where.root).free // MIB
    said = f"{free_mib} MiB free, {NEEDED_DISK_MIB} MiB needed"
    yield passed("disk", said) if free_mib >= NEEDED_DISK_MIB else failed("disk", said, ANOTHER_FOLDER)


def database(where: Home) -> Check:
    """The database is sound, in WAL mode and not newer than this hotdesk. Opened read-only."""
    if not where.database.exists():
        return passed("database", "not made yet")
    aside = "Run `hotdesk down`, move the file aside, start again; the outputs in `out/` are not in it."
    try:
        connection = sqlite3.connect(f"{where.database.as_uri()}?mode=ro", uri=True, timeout=5.0)
        try:
            verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
            mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
            schema = int(connection.execute("PRAGMA user_version").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error as error:
        return failed("database", f"cannot be read: {error}", aside)
    if verdict != "ok":
        return failed("database", f"damaged: {verdict}", aside)
    if schema > len(MIGRATIONS):
        return failed("database", f"written by a newer hotdesk (schema {schema})", "Update hotdesk.")
    if mode != "wal":
        return warned("database", f"journal mode {mode} instead of wal: readers wait", "`hotdesk up` sets it.")
    return passed("database", f"sound, WAL, schema {schema}")


def weights(where: Home) -> Check:
    """The embedded weights are there and have the released hash, where the profile needs them."""
    file = where.weights / SMOLLM2.file_name
    if not any(spec.source == file.name for spec in current_profile().tiers.values()):
        return passed("weights", "this profile needs no embedded weights")
    if not file.exists():
        return warned("weights", "not fetched yet", "`hotdesk fetch`, or `hotdesk up`, which does it too.")
    if not is_sound(file):
        return failed("weights", f"{file} is corrupt", "`hotdesk fetch` sets it aside and fetches it again.")
    return passed("weights", f"{file.name}, sha256 verified")


def auth_file(where: Home) -> Check:
    """Only its owner can read the server's auth string."""
    if not where.auth_file.exists():
        return passed("auth string", "not made yet")
    mode = where.auth_file.stat().st_mode & 0o777
    if mode & 0o077:
        remedy = f"Run `hotdesk down`, remove {where.auth_file} and start again: a new one is made."
        return failed("auth string", f"other users can read it (mode {mode:o})", remedy)
    return passed("auth string", f"mode {mode:o}")


def engines(where: Home) -> Check:
    """Every model that the database has in memory has its process, and the other way round."""
    recorded: list[Identity] = []
    if where.database.exists():
        with reading(where.database) as session:
            rows = session.scalars(select(Resident).where(Resident.state.in_(IN_MEMORY))).all()
        recorded = [row.identity for row in rows if row.identity is not None]
    dead = [owner.pid for owner in recorded if life(owner) is Life.DEAD]
    stray = [owner.pid for owner in _engine_children(where) if owner not in recorded]
    if stray:
        said = f"{len(stray)} engine processes that no record knows: pid {', '.join(map(str, stray))}"
        return warned("engines", said, f"One that loads is recorded in a moment; else: kill {stray[0]}")
    if dead:
        remedy = "The next agent that needs the model clears the record and loads it anew."
        return warned("engines", f"{len(dead)} recorded engines ended by themselves", remedy)
    return passed("engines", f"{len(recorded)} running, all recorded")


def _engine_children(where: Home) -> list[Identity]:
    found = []
    for process in psutil.process_iter():
        try:
            ours = ENGINE_MODULES in " ".join(process.cmdline())
            if ours and process.environ().get("HOTDESK_HOME") == str(where.root):
                found.append(identify(process.pid))
        except (psutil.Error, ProcessLookupError, OSError):
            continue  # another user's process, or one that just ended: neither is ours
    return found


def fleet() -> Check:
    """prefect.yaml has only keys that are known, and every flow it names exists."""
    try:
        entries = read_fleet()
    except BadInput as error:
        return failed("prefect.yaml", error.happened, error.remedy)
    return passed("prefect.yaml", f"{len(entries)} deployments, every key and entrypoint known")
