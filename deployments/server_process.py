"""The process of our own Prefect server: `python -m deployments.server_process server start ...`.

It is Prefect's own command. Two things are decided here: Python collects its garbage in a thread of its own, never in
the one that answers, and a transaction on SQLite that may write takes the write lock when it begins.
"""

import gc
import runpy
import sys
import threading
from typing import Any

# A used cursor of SQLite can be garbage in a cycle. Where the collector meets it, `sqlite3_reset` waits for
# its connection's mutex, and the connection's thread keeps that while it waits for the write lock: up to
# Prefect's busy timeout of 60 s. In the thread that answers, the owner of the write lock then cannot go on
# either: all stands still (measured with 50 runs of the fleet at once: 437 s and 290 calls without
# an answer, now 11 s and none; the stack was gc_collect_main, cursor_dealloc, sqlite3_reset, pthread_mutex_lock).
EVERY_SECONDS = 0.5
# New objects that make a look worth it: ten times Python's own 700. An idle server then does not look at all
# (looking every time took 1.7% of a core).
YOUNG = 7000
# All that lives is looked through at every 60th look: 30 s apart at the busiest.
OLDEST_EVERY = 60


def collect_for_good(stop: threading.Event) -> None:
    """Collect until `stop`, whenever enough was made since: the young often, the old now and then."""
    looks = 0
    while not stop.wait(EVERY_SECONDS):
        if gc.get_count()[0] >= YOUNG:
            looks += 1
            gc.collect(2 if looks % OLDEST_EVERY == 0 else 1)


def collect_elsewhere() -> threading.Event:
    """From now on no other thread of this process collects; set the event to end the one that does."""
    gc.disable()
    stop = threading.Event()
    threading.Thread(target=collect_for_good, args=(stop,), name="collector", daemon=True).start()
    return stop


def lock_at_the_beginning() -> None:
    """Transactions of the server's on SQLite begin with BEGIN IMMEDIATE.

    Prefect begins many that write with BEGIN DEFERRED: they read first, and where somebody else wrote in between SQLite
    refuses their own write at once, whatever the busy timeout: "database is locked", a 503, which the client tries
    again after 2, 4, 8 s (measured: 80 of them while 50 runs were made and run, and stalls of 2 s in a bootstrap).
    A transaction that waits for its turn instead waits for milliseconds. PostgreSQL is not touched.

    How one begins is a context variable, so what is opened inside of a transaction inherits it, and would wait for the
    lock that its own parent holds: such ones begin as Prefect begins them.
    """
    from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration

    transaction, begin = AioSqliteConfiguration.begin_transaction, AioSqliteConfiguration.begin_sqlite_stmt

    def begin_transaction(self: Any, session: Any, with_for_update: bool = False) -> Any:
        outermost = SQLITE_BEGIN_MODE.get() is None
        return transaction(self, session, with_for_update=with_for_update or outermost)

    def begin_sqlite_stmt(self: Any, conn: Any) -> None:
        begin(self, conn)
        if SQLITE_BEGIN_MODE.get() == "IMMEDIATE":
            SQLITE_BEGIN_MODE.set("DEFERRED")  # for what is opened inside; Prefect puts back what was before

    AioSqliteConfiguration.begin_transaction = begin_transaction  # type: ignore[method-assign]
    AioSqliteConfiguration.begin_sqlite_stmt = begin_sqlite_stmt  # type: ignore[method-assign]


if __name__ == "__main__":
    lock_at_the_beginning()
    collect_elsewhere()
    sys.argv[0] = "prefect"
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
