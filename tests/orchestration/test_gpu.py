"""What can be seen of GPUs without one: Ray hands out those that it is told of, and PyTorch sees none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray
import torch

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data import Digits, load
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.orchestration.capacity import slots
from lth_sweep.orchestration.interruption import Interruption
from lth_sweep.orchestration.on_ray import OnRay
from lth_sweep.orchestration.work import Work, assigned, position
from lth_sweep.sweepfile.axis import Axis, Choice
from lth_sweep.sweepfile.spec import Resources, SweepSpec

SPEC = SweepSpec("gpu", {"data": "digits"}, (Axis("rate", Choice({"0.2": 0.2})),))


@pytest.mark.parametrize(
    ("ids", "visible", "expected"),
    [([], None, 0), (["3"], "3", 0), (["1"], "0,1", 1), (["2"], None, 2), (["GPU-ab"], "GPU-cd,GPU-ab", 1)],
)
def test_pytorch_counts_the_visible_gpus_and_ray_names_them(ids, visible, expected):
    assert position(ids, visible) == expected


def test_a_trial_without_a_gpu_is_on_the_cpu():
    assert assigned(0) == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_node_where_pytorch_sees_no_gpu_says_so():
    with pytest.raises(ConfigError, match=r"asks for 0.25 of a GPU, but PyTorch .* sees none on ") as refused:
        assigned(0.25)
    assert refused.value.path == "resources.gpu"


class _Worker:
    """As PyTorch would answer where it sees the GPUs of CUDA_VISIBLE_DEVICES."""

    def device(self, gpu: float) -> tuple[str, list[tuple[float, int]], str]:
        import os
        from unittest import mock

        limits: list[tuple[float, int]] = []
        with (
            mock.patch("torch.cuda.is_available", return_value=True),
            mock.patch("torch.cuda.set_per_process_memory_fraction", lambda *limit: limits.append(limit)),
        ):
            return assigned(gpu), limits, os.environ["CUDA_VISIBLE_DEVICES"]


def test_ray_packs_four_quarters_on_each_gpu_and_each_takes_what_it_was_assigned(cluster):
    workers = [ray.remote(num_cpus=0.1, num_gpus=0.25)(_Worker).remote() for _ in range(8)]
    found = ray.get([worker.device.remote(0.25) for worker in workers])
    assert [one[0] for one in found] == ["cuda:0"] * 8  # the only one that each of them sees
    assert [one[1] for one in found] == [[(0.25, 0)]] * 8
    assert sorted(one[2] for one in found) == ["0"] * 4 + ["1"] * 4


def test_workers_map_the_data_set_of_the_driver_and_read_none(cluster):
    work = OnRay(SPEC.resources, Interruption(), joined=False).sharing(Work(SPEC, Path("/nowhere")))
    ours = load(Digits())

    def look(work):
        from unittest import mock

        with mock.patch.object(Digits, "load", side_effect=AssertionError("read again")):
            recipe, _, _ = work.prepare({"rate": "0.2"})
            splits = load(recipe.data)
        [(stored, _), _], *_ = ray.get(next(iter(work.data.values())).arrays)
        copied = not np.shares_memory(stored, splits.train.x.numpy())
        return splits.digest, splits.classes, copied, stored.flags.writeable, len(splits.test().y)

    found = ray.get([ray.remote(num_cpus=0)(look).remote(work) for _ in range(2)])
    assert found == [(ours.digest, 10, False, False, len(ours.test().y))] * 2


def test_how_many_trials_nodes_have_room_for():
    nodes = [
        {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}},
        {"Alive": True, "Resources": {"CPU": 3.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    for resources, expected in [
        (Resources(), 11),
        (Resources(cpu=2), 5),
        (Resources(cpu=0.1), 110),
        (Resources(gpu=1), 2),
        (Resources(gpu=0.25), 8),
        (Resources(cpu=2, gpu=0.25), 4),
        (Resources(cpu=0.5, gpu=0.3), 6),
        (Resources(cpu=16), 0),
    ]:
        assert slots(resources, nodes) == expected, resources


def test_replicas_go_in_smaller_calls_where_the_gpu_is_full(tmp_path, monkeypatch):
    from lth_sweep.lottery.loop import run
    from lth_sweep.lottery.training.trainer import Trainer

    trial = TrialConfig(seeds=5, levels=1, train=replace(TrialConfig().train, length=Duration(20, "steps")))
    expected = list(run(trial, Store(tmp_path / "one"), Runtime()))
    train, calls = Trainer.train, []

    def small(trainer, replicas, *steps):
        calls.append(len(replicas))
        if len(replicas) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train(trainer, replicas, *steps)

    monkeypatch.setattr(Trainer, "train", small)
    found = list(run(trial, Store(tmp_path / "some"), Runtime(batched=True)))
    assert calls == [5, 2, 2, 1, 2, 2, 1]  # what does not fit is tried once
    assert [[record.steps_trained for record in level] for level in found] == [[20] * 5] * 2
    for level, other in zip(expected, found, strict=True):
        assert [record.stage for record in level] == [record.stage for record in other]
        for one, two in zip(level, other, strict=True):
            assert two.metrics == pytest.approx(one.metrics, abs=0.02)

    def none_fits(trainer, replicas, *steps):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Trainer, "train", none_fits)
    with pytest.raises(torch.OutOfMemoryError):
        next(run(trial, Store(tmp_path / "none"), Runtime(batched=True)))
