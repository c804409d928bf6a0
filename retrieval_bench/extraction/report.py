"""What an extraction cost."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ExtractionReport:
    """The costs of a descriptor store.

    Attributes:
        n_images: entries of the image list.
        seconds: wall time of reading and describing, summed over all runs that made the store.
        forward_images: images that went through the network in this call; 0 where the store was there already.
        bytes_global: size of the descriptor shards on disk.
        bytes_local: size of the local features on disk, 0 without them.
        skipped: images that gave no pixels.
    """

    n_images: int
    seconds: float
    forward_images: int
    bytes_global: int
    bytes_local: int
    skipped: int

    @property
    def images_per_second(self) -> float:
        """Described images per second of the runs that made the store."""
        return (self.n_images - self.skipped) / self.seconds if self.seconds > 0 else 0.0

    @property
    def global_bytes_per_image(self) -> float:
        """Bytes of one descriptor on disk, headers shared out."""
        return self.bytes_global / self.n_images

    @property
    def local_bytes_per_image(self) -> float:
        """Bytes of one image's local features on disk."""
        return self.bytes_local / self.n_images
