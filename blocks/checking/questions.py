"""Groups of tickets that ask the same, and the sentences that may say what they ask. Pure."""

import re
from collections.abc import Sequence

from blocks.checking.likeness import Likeness, words
from blocks.checking.prose import Check
from blocks.reading.tickets import Ticket
from governor.policy.facts import Fact

# Cosines of tickets that ask the same are above this in the samples, others mostly below (looked at by hand).
LEAST_LIKE = 0.25
LEAST_IN_GROUP = 2
# Words that a group is about, and sentences to choose among.
MOST_WORDS = 3
MOST_CHOICES = 4
SHORTEST, LONGEST = 15, 160
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


class Group(Fact):
    """Tickets that ask the same, the most typical one first; the words that they share."""

    tickets: tuple[Ticket, ...]
    words: tuple[str, ...]

    @property
    def ids(self) -> list[str]:
        """Of its tickets, in order."""
        return sorted(ticket.id for ticket in self.tickets)

    @property
    def choices(self) -> tuple[str, ...]:
        """Sentences of its tickets to choose the question among, word for word: questions first."""
        parts = [part.strip().strip('"') for t in self.tickets for part in SENTENCE_END.split(t.body or t.subject)]
        fit = [part for part in dict.fromkeys(parts) if SHORTEST <= len(part) <= LONGEST]
        return tuple(sorted(fit, key=lambda part: not part.endswith("?"))[:MOST_CHOICES])

    def answered(self, question: str) -> Ticket | None:
        """The ticket whose answer goes with the question: the one that it stands in, else the most typical one."""
        asking = [ticket for ticket in self.tickets if question in f"{ticket.subject} {ticket.body}"]
        return next((ticket for ticket in [*asking, *self.tickets] if ticket.answer), None)


def group(tickets: Sequence[Ticket]) -> list[Group]:
    """Groups, largest first: the ticket with the most like it is a group's middle, and so on with what is left."""
    by_id = {ticket.id: ticket for ticket in tickets}
    likeness = Likeness({ticket.id: f"{ticket.subject} {ticket.body}" for ticket in tickets})
    like = {name: likeness.like(name, least=LEAST_LIKE) for name in by_id}
    left, found = set(by_id), list[Group]()
    while left:
        near = {name: [other for _, other in like[name] if other in left] for name in left}
        middle = max(sorted(left), key=lambda name: len(near[name]))
        members = [middle, *near[middle]]
        if len(members) < LEAST_IN_GROUP:
            break
        left -= set(members)
        shared = tuple(likeness.words_of(members, MOST_WORDS))
        found.append(Group(tickets=tuple(by_id[name] for name in members), words=shared))
    return sorted((g for g in found if g.choices), key=lambda g: (-len(g.tickets), g.ids))


def asks_about(shared: Sequence[str]) -> Check:
    """The rule for a chosen sentence: it is a question, and about what the group shares."""

    def check(text: str) -> list[str]:
        problems = [] if "?" in text or text.lower().startswith(("can ", "how ", "do ", "is ")) else ["it asks nothing"]
        return problems + ([] if set(words(text)) & set(shared) else [f"it is not about {', '.join(shared)}"])

    return check


def best_by_rule(found: Group) -> str:
    """The first sentence that the rule lets stand, else the first of all."""
    rule = asks_about(found.words)
    return next((choice for choice in found.choices if not rule(choice)), found.choices[0])
