import signal
import warnings

import pytest
import pytorch_lightning as pl
import torch

from retrieval_bench.extraction.predicting import effective_precision, run_predict
from retrieval_bench.settings.errors import InputError


def batches(count=2):
    generator = torch.Generator().manual_seed(0)
    for number in range(count):
        images = torch.randint(0, 256, (3, 3, 16, 12), generator=generator, dtype=torch.uint8)
        yield {"indices": torch.arange(3) + 3 * number, "images": images, "skipped": []}


class Collect(pl.Callback):
    def __init__(self):
        self.outputs = []

    def on_predict_batch_end(self, trainer, pl_module, outputs, batch, *_):
        assert torch.is_inference_mode_enabled()
        assert batch["images"].is_contiguous(memory_format=torch.channels_last)
        self.outputs.append(outputs)


class Interrupt(pl.Callback):
    def on_predict_batch_end(self, *_):
        raise KeyboardInterrupt


def test_model_is_left_as_it_was(make_model):
    model = make_model()
    model.extraction_scales = (2.0,)
    trainer = model._trainer
    collect = Collect()
    run_predict(model, batches(), [collect], scales=(1.0,), local=True, accelerator="cpu")
    assert [len(outputs["local_features"]) for outputs in collect.outputs] == [3, 3]
    assert model.extraction_scales == (2.0,)
    assert model.extract_local is False
    assert model._trainer is trainer
    assert model.layer.weight.is_contiguous()
    assert not model.training


def test_training_mode_is_put_back(make_model):
    model = make_model().train()
    collect = Collect()
    run_predict(model, batches(), [collect], scales=None, local=False, accelerator="cpu")
    assert len(collect.outputs) == 2
    assert model.training


def test_lightning_says_nothing(make_model, capfd, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_predict(make_model(), batches(), [Collect()], scales=None, local=False, accelerator="cpu")
    out, err = capfd.readouterr()
    assert out + err == ""
    assert not caplog.records


def test_interruption_stays_one_and_can_be_repeated(make_model):
    handler = signal.getsignal(signal.SIGINT)
    model = make_model()
    with pytest.raises(KeyboardInterrupt):
        run_predict(model, batches(), [Interrupt()], scales=(0.5,), local=True, accelerator="cpu")
    assert signal.getsignal(signal.SIGINT) is handler
    assert model.extraction_scales is None
    assert model.extract_local is False


def test_precision_counts_on_a_gpu_only():
    assert effective_precision("16-mixed", "cpu") == "32-true"
    assert effective_precision("bf16-mixed", "gpu") == "bf16-mixed"
    assert effective_precision(None, "gpu") == "32-true"
    with pytest.raises(InputError, match="precision 'half'"):
        effective_precision("half", "gpu")
