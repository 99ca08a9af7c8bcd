from typing import NamedTuple

import numpy as np
import pytest

from backbones.audio import AudioSamples, LogMel, fit, mel_bands
from backbones.errors import BackboneError


class Waves(NamedTuple):
    waves: tuple
    rate: int = 8000


def tone(hertz, *, n=8000, rate=8000):
    return (16000 * np.sin(2 * np.pi * hertz * np.arange(n) / rate)).astype(np.int16)


def test_sizes_at_8_khz_and_at_the_notebooks_16_khz():
    small = LogMel()
    assert (small.window, small.hop, small.points, small.frames, small.top_hz) == (200, 160, 512, 49, 3900.0)
    published = LogMel(rate=16000, mels=64, hop_ms=10.0)
    assert (published.window, published.hop, published.points, published.top_hz) == (400, 160, 1024, 7800.0)


def test_a_frame_by_hand():
    front_end = LogMel(seconds=0.025, mels=4)
    wave = tone(700, n=200)
    n, points = np.arange(200), front_end.points
    windowed = wave / 32768 * (0.5 - 0.5 * np.cos(2 * np.pi * n / 200))
    bins = np.arange(points // 2 + 1)
    magnitude = np.abs(np.exp(-2j * np.pi * np.outer(bins, n) / points) @ windowed)
    edges = np.linspace(2595 * np.log10(1 + 60 / 700), 2595 * np.log10(1 + 3900 / 700), 6)
    expected = []
    for band in range(4):
        total = 0.0
        for k in range(1, len(bins)):
            mel = 2595 * np.log10(1 + k * 8000 / points / 700)
            rise = (mel - edges[band]) / (edges[band + 1] - edges[band])
            fall = (edges[band + 2] - mel) / (edges[band + 2] - edges[band + 1])
            total += max(0.0, min(rise, fall)) * magnitude[k]
        expected.append(np.log(total + 1e-6))
    np.testing.assert_allclose(front_end(wave), [expected], rtol=1e-5)


@pytest.mark.parametrize("hertz", [150, 400, 1000, 2500, 3500])
def test_a_tone_is_loudest_in_its_own_band(hertz):
    front_end = LogMel()
    edges = np.linspace(2595 * np.log10(1 + 60 / 700), 2595 * np.log10(1 + 3900 / 700), 34)
    mel = 2595 * np.log10(1 + hertz / 700)
    assert abs(front_end(tone(hertz)).mean(axis=0).argmax() - (np.searchsorted(edges, mel) - 1)) <= 1


def test_bands_rise_to_one_and_overlap_by_half():
    bands = mel_bands(LogMel(rate=16000, mels=64))
    assert bands.shape == (513, 64)
    assert bands.min() == 0
    assert bands.max() <= 1
    inside = bands[8:480].sum(axis=1)
    np.testing.assert_allclose(inside, 1.0, atol=1e-9)


def test_long_clips_are_cut_and_short_ones_padded_around_the_middle():
    wave = np.arange(1, 6, dtype=np.int16)
    assert fit(wave, 3).tolist() == [2, 3, 4]
    assert fit(wave, 5).tolist() == [1, 2, 3, 4, 5]
    assert fit(wave, 8).tolist() == [0, 1, 2, 3, 4, 5, 0, 0]


def test_silence_is_a_number():
    assert np.array_equal(LogMel()(np.zeros(10, dtype=np.int16)), np.full((49, 32), np.log(1e-6), dtype=np.float32))


def test_a_batch_has_the_spectrograms_of_its_rows():
    front_end = LogMel(seconds=0.1)
    waves = (tone(300, n=500), tone(900, n=900), tone(2000, n=800))
    samples = AudioSamples(Waves(waves), front_end)
    assert len(samples) == 3
    assert samples.lengths is None
    batch = samples.batch([2, 0])["log_mel"].numpy()
    assert batch.shape == (2, 1, front_end.frames, 32)
    assert np.array_equal(batch[0, 0], front_end(waves[2]))
    assert np.array_equal(batch[1, 0], front_end(waves[0]))


@pytest.mark.parametrize(
    ("clips", "sentence"),
    [
        (Waves((tone(300),), 16000), "clips have 16000 samples a second, but this network reads 8000: .*rate=16000"),
        (Waves((tone(300), np.empty(0, dtype=np.int16))), "clip 1 is empty"),
        (Waves((np.zeros((2, 100), dtype=np.int16),)), r"clip 0 has shape \[2, 100\] .*mono int16"),
        (Waves((np.zeros(100),)), "type float64"),
    ],
)
def test_wrong_clips_are_refused(clips, sentence):
    with pytest.raises(BackboneError, match=sentence):
        AudioSamples(clips, LogMel())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seconds": 0.01}, "no room for a window of 25 ms at 8000 Hz"),
        ({"hop_ms": 0.01}, "a hop at least one sample"),
        ({"high_hz": 4100.0}, r"not inside 0\.\.4000 Hz"),
        ({"mels": 0}, "0 bands"),
    ],
)
def test_impossible_front_ends_are_refused(options, sentence):
    with pytest.raises(BackboneError, match=sentence):
        LogMel(**options)


def test_bands_narrower_than_the_resolution_are_refused():
    with pytest.raises(BackboneError, match="mel band 6 of 200 is narrower"):
        mel_bands(LogMel(mels=200))
