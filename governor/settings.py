"""Where the state lives: one folder, `HOTDESK_HOME`, made private and checked before use.

Leaves what stands in the database to `governor.state`.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import psutil

from governor.errors import NotReady

MIB = 1024 * 1024
# The weights take 94 MiB, the databases and logs of a first round about 30 MiB (measured).
NEEDED_DISK_MIB = 300
# SQLite's locks are not reliable on these ("How To Corrupt An SQLite Database File", section 2.1).
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "9p", "afs"}
    | {"ceph", "fuse.sshfs", "fuse.glusterfs", "glusterfs", "lustre", "fuse.rclone", "fuse.s3fs"}
)


@dataclass(frozen=True)
class Home:
    """The state folder and the fixed names inside it."""

    root: Path

    @property
    def database(self) -> Path:
        """SQLite file of the line, the residents and every record."""
        return self.root / "hotdesk.db"

    @property
    def weights(self) -> Path:
        """GGUF files, named as in the profile."""
        return self.root / "weights"

    @property
    def logs(self) -> Path:
        """One log per service and per engine child."""
        return self.root / "logs"

    @property
    def out(self) -> Path:
        """What the agents write."""
        return self.root / "out"

    @property
    def prefect(self) -> Path:
        """PREFECT_HOME of the server that `hotdesk up` starts."""
        return self.root / "prefect"

    @property
    def auth_file(self) -> Path:
        """The server's auth string, mode 0600."""
        return self.root / "auth"

    @property
    def bells(self) -> Path:
        """A FIFO for each ticket that waits."""
        return self.root / "bells"

    @property
    def presence(self) -> Path:
        """A locked file for each process that joined a line."""
        return self.root / "presence"

    @property
    def up_lock(self) -> Path:
        """Locked (flock) while a `hotdesk up` runs here."""
        return self.root / "up.lock"


def home() -> Home:
    """The state folder: `HOTDESK_HOME`, else the platform's state folder. Touches no disk."""
    named = os.environ.get("HOTDESK_HOME")
    root = Path(named).expanduser() if named else platformdirs.user_state_path("hotdesk", appauthor=False)
    return Home(root.absolute())


def file_system_of(path: Path) -> str:
    """Type of the file system that holds `path` (or its nearest existing parent), '' if unknown."""
    target = str(path.resolve())
    mounts = [p for p in psutil.disk_partitions(all=True) if Path(target).is_relative_to(p.mountpoint)]
    return max(mounts, key=lambda p: len(p.mountpoint)).fstype if mounts else ""


def prepare_home(where: Home | None = None) -> Home:
    """Make the state folder (0700) and its parts; safe to call again.

    Raises:
        NotReady: on a network file system, without permission, or short of disk.
    """
    where = where or home()
    kind = file_system_of(where.root)
    if kind in NETWORK_FILE_SYSTEMS:
        raise NotReady(
            f"The state folder {where.root} is on a network file system ({kind}), where SQLite's locks fail.",
            remedy="Set HOTDESK_HOME to a folder on a local disk and run the command again.",
        )
    try:
        where.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for part in (where.weights, where.logs, where.out, where.prefect):
            part.mkdir(exist_ok=True, mode=0o700)
        free_mib = shutil.disk_usage(where.root).free // MIB
    except OSError as error:
        raise NotReady(
            f"The state folder {where.root} cannot be used: {error.strerror or error}.",
            remedy="Make it writable, or set HOTDESK_HOME to another folder.",
        ) from error
    if free_mib < NEEDED_DISK_MIB:
        raise NotReady(
            f"Only {free_mib} MiB are free where {where.root} lives; {NEEDED_DISK_MIB} MiB are needed.",
            remedy="Free some space, or set HOTDESK_HOME to a folder on a larger disk.",
        )
    return where
