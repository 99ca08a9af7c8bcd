"""Counted costs equal the arithmetic of the layers, and the fitted ones equal the measured ones."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from backbones import costs as costs_module
from backbones.base import MultiExitModel
from backbones.costs import cumulative_macs, layer_costs, measure_macs
from backbones.encoders import load_encoder
from backbones.heads import linear_heads
from backbones.registry import build
from backbones.samples import TextSamples, TokenRow


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


def test_many_lengths_take_four_measurements(bert_folder, monkeypatch):
    counted = []

    class Counting(FlopCounterMode):
        def __enter__(self):
            counted.append(1)
            return super().__enter__()

    monkeypatch.setattr(costs_module, "FlopCounterMode", Counting)
    model = load_encoder(bert_folder, 3)
    cumulative_macs(model, model.samples([" ".join("a" * n) for n in range(1, 25)]))
    assert len(counted) == 4 * 2


class Cubic(MultiExitModel):
    """A network whose cost is no parabola of the length: T^3 MACs, then a head of one."""

    def __init__(self):
        super().__init__()
        self.n_exits = self.n_outputs = self.feature_width = 1
        self.heads = linear_heads(1, 1, 1)

    def embed(self, inputs):
        tokens = inputs["input_ids"].float()
        square = tokens[:, :, None] * tokens[:, None, :]
        return {"hidden": torch.bmm(square, square)}

    def segment(self, exit_index, state):
        return state

    def feature(self, exit_index, state):
        return state["hidden"][:, 0, :1]

    def head(self, exit_index, feature):
        return self.heads[exit_index](feature)


def test_a_network_that_is_no_parabola_is_measured_at_every_length():
    lengths = [1, 2, 3, 5, 7, 11]
    samples = TextSamples([TokenRow(np.zeros(n, np.int64), np.zeros(n, np.int64)) for n in lengths], pad_id=0)
    assert cumulative_macs(Cubic(), samples).exits[:, 0].tolist() == [n**3 + 1 for n in lengths]


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
