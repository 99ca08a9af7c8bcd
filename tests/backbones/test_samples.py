import numpy as np
import pytest

from backbones.errors import BackboneError
from backbones.samples import ImageSamples, TextSamples, TokenRow


def test_images_in_the_order_asked_for():
    images = np.arange(3, dtype=np.float32).reshape(3, 1, 1, 1)
    samples = ImageSamples(images)
    assert len(samples) == 3
    assert samples.lengths is None
    assert samples.batch([2, 0])["pixels"].flatten().tolist() == [2.0, 0.0]


@pytest.mark.parametrize("images", [np.zeros((3, 8, 8), np.float32), np.zeros((3, 1, 8, 8), np.uint8)])
def test_other_arrays_are_refused(images):
    with pytest.raises(BackboneError, match="floating-point"):
        ImageSamples(images)


def test_texts_are_padded_to_the_longest_of_the_batch():
    rows = [TokenRow(np.array([5, 6]), np.array([0, 1])), TokenRow(np.array([7]), np.array([0]))]
    samples = TextSamples(rows, pad_id=9)
    assert samples.lengths.tolist() == [2, 1]
    batch = samples.batch([1, 0])
    assert batch["input_ids"].tolist() == [[7, 9], [5, 6]]
    assert batch["attention_mask"].tolist() == [[1, 0], [1, 1]]
    assert batch["token_type_ids"].tolist() == [[0, 0], [0, 1]]
    assert samples.batch([1])["input_ids"].tolist() == [[7]]
