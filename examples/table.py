"""Regression on tables: scikit-learn's diabetes, and a larger, made one, most of whose columns say nothing."""

import numpy as np
import torch
from sklearn.datasets import load_diabetes, make_friedman1
from torch.utils.data import TensorDataset


def standardized(table: np.ndarray) -> torch.Tensor:
    """Each column with mean 0 and standard deviation 1."""
    return torch.from_numpy((table - table.mean(0)) / table.std(0)).float()


class Diabetes(TensorDataset):
    """442 patients, ten measurements each, and how far the disease had gone a year later."""

    def __init__(self) -> None:
        super().__init__(*map(standardized, load_diabetes(return_X_y=True)))


class Friedman(TensorDataset):
    """n rows of `columns` even numbers, of which five matter: 10 sin(pi a b) + 20 (c - 0.5)^2 + 10 d + 5 e + noise."""

    def __init__(self, n: int = 10_000, columns: int = 40, noise: float = 1.0) -> None:
        super().__init__(*map(standardized, make_friedman1(n, columns, noise=noise, random_state=0)))
