import subprocess
import sys

import pytest

from backbones import registry
from backbones.errors import BackboneError


def test_names_import_nothing_heavy():
    code = "import sys, backbones.registry; sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_name_is_guessed():
    with pytest.raises(BackboneError, match="Did you mean 'minilm-l6'"):
        registry.build("minilm-l12", 2)


def test_an_unknown_argument_names_the_known_ones():
    with pytest.raises(BackboneError, match="arguments are width"):
        registry.build("cnn6", 2, depth=3)


def test_what_is_missing_comes_with_its_command(monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name == "peft" else object())
    assert registry.missing_reason("cnn6") is None
    assert "pip install -e '.[backbones]'" in registry.missing_reason("hf-encoder")
    with pytest.raises(BackboneError, match="'peft' is not installed"):
        registry.build("minilm-l6", 2)
