"""Is faiss installed, once, and in working order?

The distributions `faiss-cpu` and `faiss-gpu` install the same files. Where both are there, the files are a mix of the
two that may fail on import or, worse, later; pip does not notice.
"""

import importlib
import importlib.metadata
import re
from typing import Any

from retrieval_bench.settings.errors import InputError

_DISTRIBUTION = re.compile(r"faiss(-(cpu|gpu)(-.*)?)?")


def installed_distributions() -> dict[str, str]:
    """Name and version of every installed distribution of faiss."""
    found = {}
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        if _DISTRIBUTION.fullmatch(name):
            found[name] = distribution.version
    return dict(sorted(found.items()))


def import_faiss() -> Any:
    """The module `faiss`.

    Raises:
        InputError: it is not installed, two distributions of it are, or it does not import; with the commands to mend
            it.
    """
    distributions = installed_distributions()
    if len(distributions) > 1:
        both = " and ".join(f"{name} {version}" for name, version in distributions.items())
        raise InputError(
            f"{both} are both installed and overwrite each other's files; run `pip uninstall -y "
            f"{' '.join(distributions)}`, then `pip install` one of them"
        )
    try:
        faiss = importlib.import_module("faiss")
        # Files left over from an uninstalled distribution can import as an empty package.
        if not hasattr(faiss, "IndexFlatIP"):
            raise ImportError("the package holds no IndexFlatIP")
    except ImportError as error:
        if not distributions:
            raise InputError(
                "faiss is not installed; run `pip install faiss-gpu` on Linux x86-64, `pip install faiss-cpu` "
                "elsewhere, or search with backend 'torch'"
            ) from error
        (name,) = distributions
        raise InputError(
            f"{name} {distributions[name]} is installed but does not import ({error}); run `pip install "
            f"--force-reinstall {name}`, or search with backend 'torch'"
        ) from error
    return faiss
