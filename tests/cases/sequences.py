"""Small networks for signals [12, 6] and tokens [10] of kinds that people have had trouble with."""

import torch
from torch import nn
from torch.nn import functional as F


class Encoder(nn.Module):
    """A transformer encoder over 12 positions of 6 features."""

    def __init__(self, layers=1):
        super().__init__()
        self.proj = nn.Linear(6, 16)
        self.pos = nn.Parameter(torch.randn(1, 12, 16) * 0.1)
        self.enc = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, batch_first=True), layers)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x = self.proj(x) + self.pos
        return self.head(self.norm(self.enc(x)).mean(1))


class JointQkv(nn.Module):
    """Attention with one Linear for queries, keys and values, as in many vision transformers."""

    def __init__(self):
        super().__init__()
        self.proj = nn.Linear(6, 16)
        self.ln = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)
        self.f1 = nn.Linear(16, 32)
        self.f2 = nn.Linear(32, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x = self.proj(x)
        n, t, c = x.shape
        q, k, v = self.qkv(self.ln(x)).reshape(n, t, 3, 4, c // 4).permute(2, 0, 3, 1, 4).unbind(0)
        a = F.scaled_dot_product_attention(q, k, v)
        x = x + self.out(a.transpose(1, 2).reshape(n, t, c))
        x = x + self.f2(F.gelu(self.f1(x)))
        return self.head(x.mean(1))


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(6, 32, batch_first=True)
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        return self.head(self.rnn(x)[0].mean(1))


class ConvThenGru(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(12, 16, 3, padding=1)
        self.bn = nn.BatchNorm1d(16)
        self.gru = nn.GRU(16, 16, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(32, 16)
        self.bn1 = nn.BatchNorm1d(16)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x = F.relu(self.bn(self.conv(x))).transpose(1, 2)
        x = self.gru(x)[0][:, -1]
        return self.head(F.relu(self.bn1(self.fc(x))))


class TiedLinear(nn.Module):
    """Two hidden layers that share one weight."""

    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(72, 24)
        self.a = nn.Linear(24, 24)
        self.b = nn.Linear(24, 24)
        self.b.weight = self.a.weight
        self.head = nn.Linear(24, 4)

    def forward(self, x):
        x = F.relu(self.inp(x.flatten(1)))
        return self.head(F.relu(self.b(F.relu(self.a(x)))))


class Tokens(nn.Module):
    """Embedding, with the tokens that the data set gives as they are."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(30, 16)
        self.fc = nn.Linear(16, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(F.relu(self.fc(self.emb(x).mean(1))))


class TiedEmbedding(nn.Module):
    """An embedding that is also the weight of a layer."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(30, 16)
        self.fc = nn.Linear(16, 16)
        self.dec = nn.Linear(16, 30, bias=False)
        self.dec.weight = self.emb.weight
        self.head = nn.Linear(30, 4)

    def forward(self, x):
        return self.head(F.relu(self.dec(F.relu(self.fc(self.emb(x.long()).mean(1))))))
