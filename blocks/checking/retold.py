"""The rule for one sentence on an entry of a feed: nothing in it that the entry does not say. Pure."""

from blocks.checking.prose import Check, all_of, length, no_new_hosts, no_new_links, no_new_numbers, words_from

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
