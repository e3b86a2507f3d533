"""The names of what the bootstrap makes on a server; importing them costs nothing."""

POOL = "hotdesk"
DEFAULT_QUEUE = "default"
# A queue of its own: fifty waiting agents must never keep the governor out.
GOVERNOR_QUEUE = "governor"
