"""The columns of a sweep's tables, and what they mean. An axis is one more, so none may have such a name."""

from collections.abc import Mapping

from lth_sweep.lottery.task import Task


def levels(task: Task) -> Mapping[str, str]:
    """Columns of `levels_frame`, in this order."""
    metrics = [metric.name for metric in task.measured]
    validation = dict.fromkeys(metrics, "on the validation split")
    training = {f"train_{name}": "on the training split (at most its first 10,000 examples)" for name in metrics}
    main = task.metric().name
    validation[main] += "; missing where training diverged"
    return {
        "trial": "number of the trial, from 0",
        "ending": "how the trial ended: finished, stopped (by a rule), failed or interrupted",
        "PATH": "one column per axis of the sweep file, by its dotted path: the label or number that the trial picked; "
        "missing where the axis did not exist for it",
        "level": "0 is the dense network; each further level prunes once more",
        "seed": "of the replica",
        "density": "kept weights / all prunable weights",
        "share": "params / those of the dense network, what cannot be pruned among them",
        "params": "kept weights, and the biases and normalisation parameters that are left",
        "flops": "of one input, 2 per multiply-add, with weights as far as they are kept",
        "bytes": "of the stored ticket",
        **validation,
        **training,
        "constant": f"1 where all validation examples get the same {task.said}: such a network never matches; else 0",
        "effective_density": "density without the weights of cut and dead units",
        "cut_units": "units with no path of kept weights from the input or to the output; missing where not known",
        "dead_units": "units that are active on no training example; missing where not known",
        "rare_units": "units that are active on fewer than 1% of the training examples; missing where not known",
        "barrier": "highest error on the line between this run and its twin, minus the mean of its ends, on the "
        "validation split; missing without `stability`",
        "train_barrier": "the same on the training split (at most its first 10,000 examples)",
        "difference": f"{main} minus that of the dense network (level 0) of the same trial and seed",
        "matches": "whether the level, over all its seeds, is as good as the dense network, within the sweep's margin; "
        "never at level 0",
        "steps_trained": "optimizer steps that were run for this row",
        "steps_reused": "optimizer steps that this row needed and found in the store",
        "seconds": "of work on this row",
        "latency": "milliseconds of the compact network on one batch; missing where not measured",
        "memory": "most bytes in use while the level was trained, of all replicas: by tensors on a GPU, else by the "
        "process; missing where not known",
        "finished": "whether the network was trained to its end; if not, it is no ticket that could match",
        "stage": "where the trained network is stored: trajectory/step",
    }


def trials(task: Task) -> Mapping[str, str]:
    """Columns of `trials_frame`, in this order."""
    return {
        "trial": "number of the trial, from 0",
        "ending": "how the trial ended: finished, stopped (by a rule), failed or interrupted",
        "reason": "why it was stopped or failed; empty otherwise",
        "PATH": "one column per axis of the sweep file, as in the levels",
        "value": "the smallest matching size (what `objective.minimize` names first); missing if no level matches",
        "level": "the level of that size; missing if no level matches",
        "density": "of that level, mean over the seeds",
        task.metric().name: "of that level on the validation split, mean over the seeds",
        "difference": "of that level to the dense network, mean over the seeds",
        "levels_run": "levels on record, the dense one included",
        "steps_trained": "optimizer steps that were run",
        "steps_reused": "optimizer steps that were needed and found in the store",
        "steps_saved": "optimizer steps that stopping has spared, about",
        "seconds": "of work on its levels",
        "memory": "most bytes in use at any of its levels",
    }


OWN = frozenset(levels(Task())) - {"PATH", "loss"}
"""Columns that are no metric's."""
