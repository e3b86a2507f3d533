"""The names of what the bootstrap makes on a server; importing them costs nothing."""

POOL = "hotdesk"
# Of our own worker (`deployments.fleet_worker`), and Prefect's where a process must not be forked.
POOL_TYPE = "hotdesk"
PROCESS_TYPE = "process"
DEFAULT_QUEUE = "default"
# A queue of its own: fifty waiting agents must never keep the governor out.
GOVERNOR_QUEUE = "governor"
