"""The sweep of benchmarks/sweep.py as people write it today, from the parts' own documentation: a Ray Tune function,
OptunaSearch, MLflowLoggerCallback, torch.nn.utils.prune, DataLoader, torch.optim.Adam. Run by benchmarks/sweep.py.

    python benchmarks/by_hand.py FOLDER TRIALS LEVELS STEPS SEEDS
"""

import copy
import json
import sys
from pathlib import Path

import ray
import torch
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.tune.search.optuna import OptunaSearch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader, TensorDataset

MARGIN = 0.01


def load_data():
    """The same split as data set digits has in lth_sweep."""
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    train, validation = order[:1197], order[1197:1497]
    return TensorDataset(x[train], y[train]), TensorDataset(x[validation], y[validation])


def train_steps(model, loader, steps, snapshot_at=None):
    """Train, and return a copy of the weights as they were after `snapshot_at` steps."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0012)
    criterion = nn.CrossEntropyLoss()
    snapshot = None
    model.train()
    step = 0
    while step < steps:
        for inputs, labels in loader:
            if step == snapshot_at:
                snapshot = copy.deepcopy(model.state_dict())
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
            step += 1
            if step == steps:
                break
    return snapshot


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    correct = total = 0
    for inputs, labels in loader:
        correct += (model(inputs).argmax(1) == labels).sum().item()
        total += len(labels)
    return correct / total


def prune_level(linears, config):
    for linear in linears[:-1]:
        if config["granularity"] == "unit":
            prune.ln_structured(linear, "weight", amount=config["rate"], n=1, dim=0)
        else:
            prune.l1_unstructured(linear, "weight", amount=config["rate"])
    if config["granularity"] == "weight":
        prune.l1_unstructured(linears[-1], "weight", amount=config["rate"] / 2)


def rewind(linears, snapshot):
    """Put the weights back; the masks stay. The first snapshot has no masks yet, so its weights are called `weight`."""
    with torch.no_grad():
        for index, linear in linears:
            linear.weight_orig.copy_(snapshot[f"{index}.weight"])
            linear.bias.copy_(snapshot[f"{index}.bias"])


def ladder(config, seed):
    """Accuracy and kept weights at each level, the dense one first, and the steps that it took."""
    torch.manual_seed(seed)
    train_set, validation_set = load_data()
    train_loader = DataLoader(train_set, batch_size=60, shuffle=True, drop_last=True)
    validation_loader = DataLoader(validation_set, batch_size=60)
    model = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
    named = [(index, layer) for index, layer in enumerate(model) if isinstance(layer, nn.Linear)]
    linears = [layer for _, layer in named]

    steps, k = config["steps"], config["rewind"]
    snapshot = train_steps(model, train_loader, steps, snapshot_at=k)
    trained = steps
    accuracies, sizes = [accuracy(model, validation_loader)], [sum(linear.weight.numel() for linear in linears)]
    for _ in range(config["levels"]):
        prune_level(linears, config)
        for linear in linears:
            if not prune.is_pruned(linear):
                prune.identity(linear, "weight")
        rewind(named, snapshot)
        train_steps(model, train_loader, steps - k)
        trained += steps - k
        accuracies.append(accuracy(model, validation_loader))
        sizes.append(sum(int(linear.weight_mask.sum()) for linear in linears))
    return accuracies, sizes, trained


def trial(config):
    torch.set_num_threads(1)
    ladders = [ladder(config, seed) for seed in range(config["seeds"])]
    accuracies = [sum(levels) / len(ladders) for levels in zip(*(found for found, _, _ in ladders), strict=True)]
    sizes = [sum(levels) / len(ladders) for levels in zip(*(found for _, found, _ in ladders), strict=True)]
    trained = sum(steps for _, _, steps in ladders)
    smallest = sizes[0]
    for level, (reached, kept) in enumerate(zip(accuracies, sizes, strict=True)):
        if reached >= accuracies[0] - MARGIN - 1e-9:
            smallest = min(smallest, kept)
        tune.report({"level": level, "accuracy": reached, "kept": kept, "smallest": smallest, "trained": trained})


def main():
    folder, (trials, levels, steps, seeds) = Path(sys.argv[1]), map(int, sys.argv[2:])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 1}),
        param_space={
            "rate": tune.uniform(0.2, 0.6),
            "rewind": tune.choice([0, min(50, steps - 1)]),
            "granularity": tune.choice(["weight", "unit"]),
            "levels": levels,
            "steps": steps,
            "seeds": seeds,
        },
        tune_config=tune.TuneConfig(
            metric="smallest",
            mode="min",
            search_alg=OptunaSearch(seed=0),
            num_samples=trials,
            max_concurrent_trials=2,
        ),
        run_config=tune.RunConfig(
            name="by-hand",
            storage_path=str(folder / "ray"),
            callbacks=[MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder}/mlflow.db", experiment_name="by-hand")],
            verbose=0,
        ),
    )
    results = tuner.fit()
    best = results.get_best_result()
    trained = sum(result.metrics["trained"] for result in results)
    print(json.dumps({"kept": best.metrics["smallest"], "steps": trained, "trials": len(results)}))
    ray.shutdown()


if __name__ == "__main__":
    main()
