import pytest
import torch

from harness.errors import UserError
from harness.live.environment import checked_device, checked_dtype, record_environment


def test_the_machine_is_recorded():
    found = record_environment(torch.device("cpu"), "float32")
    assert found.threads == torch.get_num_threads()
    assert found.cores >= 1
    assert found.processor
    assert found.torch == torch.__version__
    assert found.device_name == found.processor


def test_cuda_asked_for_and_absent(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="finds no CUDA device on this machine: use --device cpu"):
        checked_device("cuda")


def test_a_device_number_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="this machine has 1 CUDA devices"):
        checked_device("cuda:3")


@pytest.mark.parametrize("name", ["gpu", "meta"])
def test_unknown_devices(name):
    with pytest.raises(UserError, match=f"unknown device '{name}'"):
        checked_device(name)


def test_unknown_dtype():
    with pytest.raises(UserError, match=r"unknown dtype 'bfloat'\. Did you mean 'bfloat16'"):
        checked_dtype("bfloat")
    assert checked_dtype("bfloat16") is torch.bfloat16
