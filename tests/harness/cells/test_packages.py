import sys

import pytest

from harness.cells.packages import PackagePath, locate, missing_package
from harness.errors import UserError


def source(module="demo_package", path="data/a.csv"):
    return PackagePath(package="demo-package", module=module, path=path, extra="demo")


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "demo_package"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "data" / "a.csv").write_text("1")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_finds_data_without_importing_the_package(package):
    assert locate(source()) == package / "data" / "a.csv"
    assert missing_package(source()) is None
    assert "demo_package" not in sys.modules


def test_absent_package_is_answered_with_the_pip_command():
    with pytest.raises(UserError, match=r"'demo-package' is not installed.*pip install -e '.\[demo\]'"):
        locate(source("no_such_package"))
    assert "pip install" in missing_package(source("no_such_package"))


def test_package_without_its_data_is_answered_with_the_pip_command(package):
    with pytest.raises(UserError, match="--force-reinstall demo-package"):
        locate(source(path="data/b.csv"))
    assert str(package) in missing_package(source(path="data/b.csv"))


def test_a_plain_module_has_no_folder(tmp_path, monkeypatch):
    (tmp_path / "lonely_module.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "not installed" in missing_package(source("lonely_module"))
