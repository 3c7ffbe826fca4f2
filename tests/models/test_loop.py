"""The loop of every training run, with a net of one weight."""

import json
from dataclasses import replace

import pytest

pytest.importorskip("torch")

from adaslide_models.train import checkpoints
from adaslide_models.train.loop import Schedule, rate_at, run, set_rate

torch = pytest.importorskip("torch")
SCHEDULE = Schedule(minutes=1.0, steps=7, measure="reward", log_steps=2, validate_steps=3)


class Fit:
    """Goes to 1 along the squared error; counts what it is asked for."""

    def __init__(self):
        self.progress = checkpoints.Progress()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.optimiser = torch.optim.SGD([self.weight], lr=0.1)
        self.shares, self.validated, self.saved = [], [], []

    def step(self, done):
        self.shares.append(done)
        set_rate(self.optimiser, 0.1 * rate_at(self.progress.step, done, warmup=2, floor=0.5))
        loss = (self.weight - 1) ** 2
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.progress.step += 1
        return float(loss.detach())

    def validate(self):
        self.validated.append(self.progress.step)
        return {"error": abs(float(self.weight.detach()) - 1)}

    def save(self):
        self.saved.append(self.progress.step)

    def run(self, schedule, out):
        calls = {"step": self.step, "validate": self.validate, "save": self.save}
        return run(self.progress, schedule, out, self.optimiser, **calls)


def rows_of(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_steps_are_logged_validated_and_saved(tmp_path):
    fit = Fit()
    given = fit.run(SCHEDULE, tmp_path)
    assert fit.shares == [step / 7 for step in range(7)]
    assert given == sorted(given, reverse=True)
    assert (len(given), given[0]) == (7, 1.0)
    assert (fit.validated, fit.saved) == ([3, 6, 7], [7])
    rows = rows_of(tmp_path)
    steps = [row for row in rows if "reward" in row]
    assert [row["step"] for row in steps] == [2, 4, 6]
    assert steps[1]["reward"] == pytest.approx((given[2] + given[3]) / 2, abs=1e-5)
    assert steps[1]["rate"] == pytest.approx(0.1 * rate_at(3, 3 / 7, warmup=2, floor=0.5))
    assert [row["step"] for row in rows if "error" in row] == [3, 6, 7]


def test_a_run_goes_on_from_where_it_was(tmp_path):
    stopped = Fit()
    stopped.progress.step = 5
    assert len(stopped.run(SCHEDULE, tmp_path)) == 2
    assert stopped.shares == [5 / 7, 6 / 7]
    assert stopped.run(SCHEDULE, tmp_path) == []
    assert stopped.saved == [7, 7]


def test_a_run_ends_when_its_minutes_are_spent(tmp_path, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("adaslide_models.train.loop.time.monotonic", lambda: clock[0])

    class Slow(Fit):
        def step(self, done):
            clock[0] += 4
            return super().step(done)

        def validate(self):
            clock[0] += 2
            return super().validate()

    fit = Slow()
    fit.progress.seconds = 10.0
    given = fit.run(Schedule(1.0, validate_seconds=20, checkpoint_seconds=30), tmp_path)
    assert len(given) == fit.progress.step == 12  # 10 + 12 * 4 + 2 of validation, and the last one
    assert (fit.validated, fit.saved) == ([5, 10, 12], [7, 12])
    assert fit.progress.seconds == 10 + 12 * 4 + 3 * 2
    assert rows_of(tmp_path)[-1]["seconds"] == fit.progress.seconds


def test_what_says_nothing_is_not_logged(tmp_path):
    fit = Fit()
    fit.validate = dict
    fit.run(replace(SCHEDULE, log_steps=100), tmp_path)
    assert not (tmp_path / "log.jsonl").exists()


def test_the_rate_rises_and_falls_to_its_floor():
    rates = [rate_at(step, step / 100, warmup=10, floor=0.02) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1, abs=0.03)
    assert rates[100] == rate_at(100, 3.0, warmup=10, floor=0.02) == pytest.approx(0.02)
