import pytest

from harness.errors import TimingInvalidError
from harness.live.busy import LOOK_S, Used, look, others_share, require_quiet


def looks(*seen):
    left = list(seen)
    return lambda: left.pop(0)


def test_the_share_is_of_the_others_alone():
    slept = []
    found = others_share(look=looks(Used(100, 10, 0), Used(103, 11, 2)), sleep=slept.append, processors=4)
    assert found == pytest.approx(2 / 8)  # 3 s used, 1 of them ours, in 2 s on 4 processors
    assert slept == [LOOK_S]


def test_the_share_stays_within_its_bounds():
    assert others_share(look=looks(Used(0, 0, 0), Used(1, 2, 1)), sleep=lambda s: None, processors=1) == 0
    assert others_share(look=looks(Used(0, 0, 0), Used(9, 0, 1)), sleep=lambda s: None, processors=1) == 1


def test_a_system_that_does_not_tell():
    assert others_share(look=lambda: None, sleep=lambda s: None) is None
    assert others_share(look=looks(Used(0, 0, 0), Used(1, 0, 0)), sleep=lambda s: None) is None
    require_quiet(None, busy_ok=False)


def test_the_counters_of_this_machine_only_grow():
    before, after = look(), look()
    if before is not None:
        assert after.everybody_s >= before.everybody_s > 0
        assert after.own_s >= before.own_s > 0


def test_a_busy_machine_is_refused_unless_told():
    require_quiet(0.10, busy_ok=False)
    require_quiet(0.55, busy_ok=True)
    with pytest.raises(TimingInvalidError, match=r"other programs use 55% .*\(allowed 10%\).*or add --busy-ok"):
        require_quiet(0.55, busy_ok=False)
