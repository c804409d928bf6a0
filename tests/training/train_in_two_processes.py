"""Run by a test: DELG trains on the drawn images in two processes; the first one writes what came out."""

import json
import os
import sys
from pathlib import Path

import torch

import retrieval_bench as rb
from retrieval_bench.data.module import RetrievalDataModule
from retrieval_bench.settings.recipe import Recipe
from retrieval_bench.settings.run import RuntimeSettings
from retrieval_bench.training.fit import fit
from retrieval_bench.values.dataset import ImageList, LabelledImages, RetrievalDataset


def main(pictures: Path, folder: Path) -> None:
    """Train for two epochs."""
    torch.set_num_threads(1)

    def labelled(prefix: str) -> LabelledImages:
        paths = sorted(pictures.glob(f"{prefix}*.png"))
        kinds = sorted({path.stem.rstrip("0123456789") for path in paths})
        return LabelledImages(paths, [kinds.index(path.stem.rstrip("0123456789")) for path in paths], kinds)

    train, validation = labelled("train"), labelled("held")
    one = ImageList(["a"], [train.paths[0]])
    dataset = RetrievalDataset("drawn", pictures, one, one, [{"easy": [0]}], train, validation)
    pooling = {"name": "netvlad", "clusters": 4, "cluster_dim": 8}
    model = rb.create_model("delg", backbone="test_resnet", pooling=pooling, dim=16, num_classes=4)
    if os.environ.get("LOCAL_RANK") == "1":
        # What the second process starts from is not what the first one has.
        model.pooling.alpha = 1.0
    model.recipe = Recipe(epochs=2, batch_size=4, image_size=32, lr=0.05, warmup_epochs=0)
    data = RetrievalDataModule(dataset, model.recipe, model.protocol, workers=0, validation_share=0)
    trained = fit(model, data, folder, RuntimeSettings(accelerator="cpu", devices=2, workers=0))
    digest = torch.cat([value.flatten().double() for value in model.state_dict().values()]).sum()
    gathered = [torch.zeros_like(digest) for _ in range(2)]
    torch.distributed.all_gather(gathered, digest)
    assert torch.equal(*gathered), "the processes ended with different weights"
    if model.global_rank == 0:
        figures = {
            "images": trained.images,
            "start images": trained.start_images,
            "epochs": [row["epoch"] for row in trained.history],
            "map": trained.history[-1]["validation/map"],
        }
        (folder / "figures.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
