"""Where the revisited sets come from: addresses, sizes and digests, as data.

The ground truth has digests (its official file is the same in three independent copies). For the image archives
nobody has published any, so they are checked by their length in transit and image by image afterwards. In June 2022
the Oxford and Paris images were released anew with blurred faces; the earlier archives may be gone from the server.
"""

from dataclasses import dataclass

from retrieval_bench.settings.errors import InputError, nearest

RELEASES = {"v1-blurred": "blurred faces (2022)", "original": "original (before 2022)"}
"""Releases of the Oxford and Paris images, and what cards call them."""

DEFAULT_RELEASE = "v1-blurred"

_VGG = "https://www.robots.ox.ac.uk/~vgg/data"
_CMP = "http://cmp.felk.cvut.cz"


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch.

    Attributes:
        name: under which it is saved.
        urls: the same file at several places, the first one preferred.
        size: exact bytes, None where not published.
        about: rough bytes, for plans and disk checks.
        sha256: its digest, None where not published.
    """

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    about: int = 0
    sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """The files of one dataset.

    Attributes:
        ground_truth: the annotation.
        archives: of images, by release. Their folders are flattened into ``jpg/``.
        queries, database: how many images the set has.
    """

    ground_truth: RemoteFile
    archives: dict[str, tuple[RemoteFile, ...]]
    queries: int
    database: int


def _annotation(name: str, size: int, sha256: str) -> RemoteFile:
    file = f"gnd_{name}.pkl"
    urls = (f"{_CMP}/revisitop/data/datasets/{name}/{file}", f"{_CMP}/cnnimageretrieval/data/test/{name}/{file}")
    return RemoteFile(file, urls, size=size, about=size, sha256=sha256)


def _archive(folder: str, name: str, about: int) -> RemoteFile:
    return RemoteFile(name, (f"{_VGG}/{folder}/{name}",), about=about)


SOURCES = {
    "roxford5k": Source(
        _annotation("roxford5k", 149_871, "ba7967754bd2d7d2210a5799f9c45ad5835e269a80ef9d3eba44caa35816c471"),
        {
            "v1-blurred": (_archive("oxbuildings", "oxbuild_images-v1.tgz", 1_800_000_000),),
            "original": (_archive("oxbuildings", "oxbuild_images.tgz", 1_800_000_000),),
        },
        queries=70,
        database=4993,
    ),
    "rparis6k": Source(
        _annotation("rparis6k", 276_508, "d2e729a5293dda7dda8a15c8383424a42e4964a2c4cfea2f32fa85d11d2df499"),
        {
            "v1-blurred": (
                _archive("parisbuildings", "paris_1-v1.tgz", 1_300_000_000),
                _archive("parisbuildings", "paris_2-v1.tgz", 1_200_000_000),
            ),
            "original": (
                _archive("parisbuildings", "paris_1.tgz", 1_300_000_000),
                _archive("parisbuildings", "paris_2.tgz", 1_200_000_000),
            ),
        },
        queries=70,
        database=6322,
    ),
}


def archives(source: Source, release: str) -> tuple[RemoteFile, ...]:
    """The archives of a release.

    Raises:
        InputError: no such release.
    """
    if release not in source.archives:
        raise InputError(nearest(release, source.archives, noun="release"))
    return source.archives[release]
