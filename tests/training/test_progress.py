"""The bar and the line of an epoch say which loss they show."""

import re


def test_which_loss_is_which(build, recipe, train, tmp_path, capsys):
    trained = train(build("gem", recipe(batch_size=2, lr=0.01)), tmp_path, share=0)
    told = capsys.readouterr().err
    lines = re.findall(r"epoch (\d)/2, mean loss ([\d.]+)", told)
    assert lines == [(f"{int(row['epoch'])}", f"{row['train/loss']:.3f}") for row in trained.history]
    assert "batch loss " in told
