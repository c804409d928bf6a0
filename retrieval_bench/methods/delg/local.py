"""DELG's local branch: attention over the map before the last stage, trained behind a stopped gradient.

Two branches are in use. `AutoencoderBranch` is the paper's (Cao et al., ECCV 2020, sec. 3.2; tensorflow/models after PR
9906): an autoencoder reduces descriptors to 128-D, attention is computed from the map and trained on the
reconstruction. `NormalisedBranch` is feymanpriv/DELG's: 512-D descriptors from the attention's own hidden layer, no
autoencoder.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.pooling.attentive import AttendedDescriptors, LocalMaps, positive_scores


class AutoencoderBranch(nn.Module):
    """The paper's branch. The classifier sees the attended, normalised *reconstruction*.

    Args:
        in_channels: C of the map.
        local_dim: d of the codes.
        attention_dim: hidden channels of the attention.
        num_classes: of the auxiliary classifier; None leaves it out.
    """

    def __init__(self, in_channels: int, local_dim: int, attention_dim: int, num_classes: int | None):
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, local_dim, 1)  # no activation: codes are signed, so roughly centred
        self.expand = nn.Conv2d(local_dim, in_channels, 1)
        self.hidden = nn.Conv2d(in_channels, attention_dim, 1)
        self.norm = nn.BatchNorm2d(attention_dim, eps=1e-3, momentum=0.01)
        self.score = nn.Conv2d(attention_dim, 1, 1)
        self.classifier = None if num_classes is None else nn.Linear(in_channels, num_classes)

    def forward(self, feature_map: Tensor) -> LocalMaps:
        """``(B, C, H, W)`` -> dense local features."""
        return LocalMaps(F.normalize(self.reduce(feature_map), dim=1), self.attention(feature_map))

    def attention(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, 1, H, W)`` scores."""
        return positive_scores(self.norm(self.hidden(feature_map)), self.score)

    def training_losses(self, feature_map: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """``attention`` (cross-entropy) and ``reconstruction`` (mean squared error) losses of a detached map."""
        feature_map = feature_map.detach()
        reconstruction = F.relu(self.expand(self.reduce(feature_map)))
        pooled = self.pooled(feature_map, reconstruction)
        assert self.classifier is not None
        return {
            "attention": F.cross_entropy(self.classifier(pooled).float(), labels),
            "reconstruction": F.mse_loss(reconstruction.float(), feature_map.float()),
        }

    def pooled(self, feature_map: Tensor, reconstruction: Tensor) -> Tensor:
        """``(B, C)``: mean over positions of score times unit reconstruction."""
        return (self.attention(feature_map) * F.normalize(reconstruction, dim=1)).mean(dim=(2, 3))


class NormalisedBranch(AttendedDescriptors):
    """feymanpriv/DELG's branch (``SpatialAttention2d``): descriptors before the ReLU, scores after it.

    Args:
        in_channels: C of the map.
        local_dim: d of the descriptors, which are the attention's hidden channels.
        num_classes: of the auxiliary classifier; None leaves it out.
    """

    def __init__(self, in_channels: int, local_dim: int, num_classes: int | None):
        super().__init__(in_channels, local_dim)
        self.classifier = None if num_classes is None else nn.Linear(local_dim, num_classes)

    def training_losses(self, feature_map: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The ``attention`` loss (cross-entropy of the attended descriptors' mean) of a detached map."""
        assert self.classifier is not None
        logits = self.classifier(self.pooled(self(feature_map.detach())))
        return {"attention": F.cross_entropy(logits.float(), labels)}

    def pooled(self, maps: LocalMaps) -> Tensor:
        """``(B, d)``: mean over positions of score times descriptor."""
        return torch.mean(maps.scores * maps.descriptors, dim=(2, 3))
