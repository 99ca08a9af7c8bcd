import pytest

from backbones.errors import BackboneError
from backbones.heads import linear_heads


def test_one_head_an_exit():
    heads = linear_heads(3, 8, 2)
    assert [tuple(head.weight.shape) for head in heads] == [(2, 8)] * 3


@pytest.mark.parametrize(("n_exits", "n_outputs"), [(0, 2), (3, 0)])
def test_no_exit_or_no_output_is_an_error(n_exits, n_outputs):
    with pytest.raises(BackboneError, match="at least one"):
        linear_heads(n_exits, 8, n_outputs)
