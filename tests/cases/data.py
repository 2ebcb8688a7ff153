"""Data sets for small networks: images, signals, tokens."""

import torch


class Img(torch.utils.data.Dataset):
    """n images [ch, 8, 8] of 4 classes: a bright quadrant, noise."""

    def __init__(self, n=500, ch=3):
        g = torch.Generator().manual_seed(1)
        self.y = torch.randint(0, 4, (n,), generator=g)
        self.x = torch.randn(n, ch, 8, 8, generator=g) * 0.7
        for i, c in enumerate(self.y.tolist()):
            self.x[i, :, 4 * (c // 2) : 4 * (c // 2) + 4, 4 * (c % 2) : 4 * (c % 2) + 4] += 1.0

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], int(self.y[i])


class Seq(torch.utils.data.Dataset):
    """n signals [12, 6] of 4 classes: which third of channels oscillates."""

    def __init__(self, n=500):
        g = torch.Generator().manual_seed(1)
        self.y = torch.randint(0, 4, (n,), generator=g)
        self.x = torch.randn(n, 12, 6, generator=g) * 0.7
        for i, c in enumerate(self.y.tolist()):
            self.x[i, 3 * c : 3 * c + 3, :] += 1.5

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], int(self.y[i])


class Tones(Seq):
    """n signals [12, 6] of 4 classes: which feature is raised, at all positions alike."""

    def __init__(self, n=500):
        super().__init__(n)
        g = torch.Generator().manual_seed(2)
        self.x = torch.randn(n, 12, 6, generator=g) * 0.7
        self.x[torch.arange(n), :, self.y] += 1.5


class Tok(torch.utils.data.Dataset):
    """n token sequences [10] out of 30 tokens, 4 classes: which range of tokens is frequent."""

    def __init__(self, n=500, dtype="int64"):
        g = torch.Generator().manual_seed(1)
        self.y = torch.randint(0, 4, (n,), generator=g)
        self.x = torch.randint(0, 30, (n, 10), generator=g)
        for i, c in enumerate(self.y.tolist()):
            self.x[i, :5] = torch.randint(7 * c, 7 * c + 7, (5,), generator=g)
        self.x = self.x.to(getattr(torch, dtype))

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], int(self.y[i])


class Rare(torch.utils.data.Dataset):
    """600 points, 3 common classes and a rare one that a single example has; `where` is its index."""

    def __init__(self, n=600, where=0):
        g = torch.Generator().manual_seed(0)
        self.y = torch.randint(0, 3, (n,), generator=g)
        self.x = torch.randn(n, 8, generator=g)
        self.x[torch.arange(n), self.y] += 3
        self.y[where] = 3

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], int(self.y[i])
