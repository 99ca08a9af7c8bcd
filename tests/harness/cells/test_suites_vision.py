from backbones.registry import build, entry
from harness.cells.plan import plan, suite_cells
from harness.cells.suites import load_suite, suite_policies
from harness.cells.tasks import task_spec

CELLS = {
    "resnet56-frozen": {"mnist5k", "cifar10", "cifar10-lossless"},
    "vgg11-small": {"mnist5k", "cifar10"},
    "densenet-small": {"mnist5k", "cifar10-10k"},
    "resnet50-small": {"mnist5k", "cifar10-10k"},
}


def test_every_network_sees_digits_and_photographs(tmp_path):
    suite = load_suite("vision")
    cells = list(suite_cells(suite, tmp_path))
    assert {name: {c.dataset for c in cells if c.backbone == name} for name in suite.backbones} == CELLS
    assert {c.trained_as for c in cells if c.dataset == "cifar10-lossless"} == {"resnet56-frozen.cifar10.s0"}


def test_networks_read_the_images_of_their_data_sets(tmp_path):
    for cell in suite_cells(load_suite("vision"), tmp_path):
        spec = task_spec(cell.dataset)
        assert (entry(cell.builder).reads, spec.kind) == ("image", "image")
        # Weights are not on every machine; the exits do not depend on them.
        arguments = {name: value for name, value in cell.arguments.items() if name not in ("path", "frozen")}
        model = build(cell.builder, spec.n_outputs, **arguments)
        assert model.n_exits == cell.n_exits
        assert model.half_logits
        assert str(model.prepare.size) == ("1x28x28" if cell.dataset == "mnist5k" else "3x32x32")


def test_who_saw_the_images_before_is_said():
    suite = load_suite("vision")
    assert "frozen published trunk that saw CIFAR-10's training images, lossless" in suite.title
    frozen = [name for name, backbone in suite.backbones.items() if backbone.arguments.get("frozen")]
    assert frozen == ["resnet56-frozen"]


def test_policies_fit_four_exits():
    specs = [run.spec for run in suite_policies(load_suite("vision"), 4, "classification")]
    assert "fixed(exit=4)" in specs
    assert "fixed(exit=5)" not in specs
    assert {"max_prob", "leenet", "optimal_stopping", "beem_a"} <= {spec.partition("(")[0] for spec in specs}
    # A budget in layers would have to be one of every network's own.
    assert not [spec for spec in specs if "budget" in spec]


def test_missing_cells_wait_to_be_asked_for(tmp_path):
    reasons = {entry.reason for entry in plan([load_suite("vision")], results_folder=tmp_path)}
    assert all("name it with --suite" in reason or "not on this machine" in reason for reason in reasons)
