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
        implementation: how far this code, with the method's own parts, is the authors', for the protocol card.
        published: printed figures with their sources.
    """

    title: str
    paper: str
    code: str
    implementation: str
    published: tuple[Published, ...] = ()

    def extended(self, title: str) -> "MethodCard":
        """The card of a method that extends this one and says nothing of itself."""
        return MethodCard(
            title=title,
            paper=f"unpublished; extends {self.title} ({self.paper})",
            code="own code",
            implementation=f"own work that extends {self.title}",
        )


def figures(
    variant: str, source: str, *, medium: tuple[float, float], hard: tuple[float, float], stage: str = "global"
) -> tuple[Published, ...]:
    """Four printed mAPs in percent: (ROxford5k, RParis6k) at Medium and Hard."""
    return tuple(
        Published(dataset=dataset, level=level, stage=stage, map=value / 100, variant=variant, source=source)
        for level, values in (("medium", medium), ("hard", hard))
        for dataset, value in zip(("roxford5k", "rparis6k"), values, strict=True)
    )
