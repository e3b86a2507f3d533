"""The names of what the bootstrap makes on a server; importing them costs nothing."""

POOL = "hotdesk"
# Of our own worker (`deployments.fleet_worker`).
POOL_TYPE = "hotdesk"
# Of versions before 0.7.
PROCESS_TYPE = "process"
# The service that runs agents and house; and those of versions before 0.7, which could not run this pool.
WORKER = "fleet-worker"
OLD_WORKERS = ("worker", "governor-worker")
DEFAULT_QUEUE = "default"
# A queue of its own: fifty waiting agents must never keep the governor out.
GOVERNOR_QUEUE = "governor"
# What Prefect puts on the runs that a schedule makes.
BY_SCHEDULE_TAG = "auto-scheduled"
# The step that the bootstrap, like `prefect deploy`, records for flows of a folder of this machine.
SET_FOLDER = "prefect.deployments.steps.set_working_directory"
# Where the worker writes why runs that are due wait there, for `hotdesk status`.
HELD_KEY = "runs_held"
