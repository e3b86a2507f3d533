"""All traces, by what their trouble is with. Constructed, not recorded: their shapes are written down in words."""

from tests.benchmarks.still_traces import STILL_CARDS, STILL_HOSTS
from tests.benchmarks.traces_of_cards import CARDS
from tests.benchmarks.traces_of_hosts import HOSTS, TWO_CAUSES
from tests.benchmarks.traces_of_slow_models import SLOW_MODELS

# Two causes at once end on the card.
CARD_TRACES = (*CARDS, *SLOW_MODELS, *STILL_CARDS, TWO_CAUSES)
HOST_TRACES = (*HOSTS, *STILL_HOSTS)
TRACES = (*CARD_TRACES, *HOST_TRACES)
