"""What the loop may be told besides: when it evaluates, its weight decay, how the rate falls."""

import pytest
import training_toy
from training_toy import same, train

home = pytest.fixture(training_toy.home, autouse=True)
ERRORS = ["valid_error", "test_error"]


def test_evaluating_less_often_changes_nothing_else():
    often, seldom = train(), train(evaluate_at={2}, at_once=7)
    assert seldom[ERRORS].notna().all(axis=1).tolist() == [False, True, False, True]
    same(seldom.drop(columns=ERRORS), often.drop(columns=ERRORS))
    same(seldom[ERRORS].dropna(), often[ERRORS].iloc[[1, 3]])


@pytest.mark.parametrize("factor", [0.1, 0.2])
def test_the_rate_falls_by_the_factor(factor):
    log = train(milestones=(0.5, 0.75), factor=factor)
    found = (log.learning_rate / log.learning_rate[0]).tolist()
    assert found == pytest.approx([1, 1, factor, factor**2])


def test_weight_decay_is_not_ignored():
    plain = train().train_loss
    assert train(weight_decay=0.0).train_loss.equals(plain)
    assert not train(weight_decay=0.1).train_loss.equals(plain)
