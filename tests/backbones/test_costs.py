"""Counted costs equal the arithmetic of the layers, and the fitted ones equal the measured ones."""

import numpy as np
import pytest

from backbones.costs import cumulative_macs, layer_costs, measure_macs
from backbones.encoders import load_encoder
from backbones.registry import build


def test_a_bert_exit_by_hand(bert_folder):
    model = load_encoder(bert_folder, 3)
    samples = model.samples(["a b c d e"])
    length, width, inner = 7, 16, 32
    layer = 4 * length * width * width + 2 * length * length * width + 2 * length * width * inner
    pool, head = length * width, width * 3
    costs = measure_macs(model, samples.batch([0]))
    assert costs.exits.tolist() == [n * (layer + pool + head) for n in (1, 2, 3, 4)]
    assert float(costs.bare) == 4 * layer + pool + head


def test_fitted_lengths_equal_measured_ones(bert_folder):
    model = load_encoder(bert_folder, 3, exits=(1, 4))
    texts = [" ".join("abcdef"[i % 6] for i in range(n)) for n in (1, 2, 3, 5, 8, 9, 14, 20, 3)]
    samples = model.samples(texts)
    costs = cumulative_macs(model, samples)
    assert costs.exits.shape == (9, 2)
    for row in range(len(texts)):
        direct = measure_macs(model, samples.batch([row]))
        assert np.array_equal(costs.exits[row], direct.exits)
        assert costs.bare[row] == direct.bare


def test_padding_is_not_counted(bert_folder):
    model = load_encoder(bert_folder, 3)
    samples = model.samples(["a", "a b c d e f a b"])
    short = measure_macs(model, model.samples(["a"]).batch([0]))
    assert np.array_equal(cumulative_macs(model, samples).exits[0], short.exits)


@pytest.mark.parametrize(("side", "positions"), [(8, 64), (28, 196)])
def test_cnn6_by_hand(side, positions):
    model = build("cnn6", 10)
    samples = model.samples(np.zeros((3, 1, side, side), np.float32))
    costs = cumulative_macs(model, samples)
    width = model.feature_width
    stem, layer, head = positions * width * 9, positions * width * width * 3, width * 10
    assert costs.exits.tolist() == [stem + n * (layer + head) for n in range(1, 7)]
    assert float(costs.bare) == stem + 6 * layer + head


def test_costs_in_layers(bert_folder):
    assert layer_costs(build("cnn6", 10)).tolist() == [1, 2, 3, 4, 5, 6]
    assert layer_costs(load_encoder(bert_folder, 3, exits=(2, 4))).tolist() == [2, 4]


def test_the_network_is_left_as_it_was(bert_folder):
    model = load_encoder(bert_folder, 3).train()
    cumulative_macs(model, model.samples(["a b"]))
    assert model.training
    assert model.heads[0].weight.device.type == "cpu"
