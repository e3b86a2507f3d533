"""The rule for one sentence on an entry of a feed: nothing in it that the entry does not say. Pure."""

import re

from blocks.checking.prose import Check, all_of, length, no_new_links, no_new_numbers, words_from

# A name with dots that ends in letters, as hosts and file names do.
HOST = re.compile(r"\b(?:[a-z0-9-]+\.)+[a-z]{2,}\b", re.IGNORECASE)
# With 0.7 a sentence of ten words may hold three invented ones; summaries of larger models stay above 0.8.
SHARE = 0.8
LEAST, MOST = 20, 320


def retold(source: str) -> Check:
    """Short, in the source's words, without a new number, link or host."""
    return all_of(
        length(LEAST, MOST),
        no_new_numbers(source),
        no_new_links(source),
        no_new_hosts(source),
        words_from(source, SHARE),
    )


def no_new_hosts(source: str) -> Check:
    """Every host that is named stands in the source, with or without a scheme before it."""
    known = {host.lower() for host in HOST.findall(source)}
    return lambda text: [f"the host {h} is not in the source" for h in HOST.findall(text) if h.lower() not in known]
