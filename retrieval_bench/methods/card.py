"""A method's card as data: paper, licence, what is published."""

from dataclasses import dataclass

from retrieval_bench.settings.record import Published


@dataclass(frozen=True)
class MethodCard:
    """What the report and ``list methods`` say about a method.

    Attributes:
        title: its name in the literature.
        paper: authors, title, venue, year.
        code: the authors' repository and its licence.
        implementation: how far this code is the authors', for the protocol card.
        published: printed figures with their sources.
    """

    title: str
    paper: str
    code: str
    implementation: str
    published: tuple[Published, ...] = ()
