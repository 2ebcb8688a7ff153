"""Networks whose units are found in other ways than one layer after another."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class GroupedQueries(nn.Module):
    """Four heads of queries on two of keys and values (Ainslie et al. 2023), turned by position; SwiGLU (Shazeer 2020);
    RMSNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 16)
        self.norm1, self.norm2 = nn.RMSNorm(16), nn.RMSNorm(16)
        self.q, self.k, self.v = nn.Linear(16, 16), nn.Linear(16, 8), nn.Linear(16, 8)
        self.out = nn.Linear(16, 16)
        self.up, self.gate, self.down = nn.Linear(16, 24), nn.Linear(16, 24), nn.Linear(24, 16)
        self.head = nn.Linear(16, 4)
        angles = torch.arange(12)[:, None] * torch.tensor([1.0, 0.1])
        self.register_buffer("turn", torch.stack([angles.cos(), angles.sin()]))

    def rotated(self, x: Tensor) -> Tensor:
        one, two = x.chunk(2, 3)
        cos, sin = self.turn
        return torch.cat([one * cos - two * sin, one * sin + two * cos], 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        read = self.norm1(x)
        q, k, v = (part(read).unflatten(2, (-1, 4)).transpose(1, 2) for part in (self.q, self.k, self.v))
        k, v = (part.repeat_interleave(2, 1) for part in (k, v))
        found = F.scaled_dot_product_attention(self.rotated(q), self.rotated(k), v, is_causal=True)
        x = x + self.out(found.transpose(1, 2).flatten(2))
        read = self.norm2(x)
        x = x + self.down(F.silu(self.gate(read)) * self.up(read))
        return self.head(x.mean(1))


class MobileBlock(nn.Module):
    """Expand, depthwise, squeeze-and-excite, project, add (Howard et al. 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.expand, self.norm1 = nn.Conv2d(8, 24, 1, bias=False), nn.BatchNorm2d(24)
        self.depthwise, self.norm2 = nn.Conv2d(24, 24, 3, padding=1, groups=24, bias=False), nn.BatchNorm2d(24)
        self.squeeze, self.excite = nn.Conv2d(24, 6, 1), nn.Conv2d(6, 24, 1)
        self.project, self.norm3 = nn.Conv2d(24, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.stem_norm(self.stem(x)))
        y = F.hardswish(self.norm1(self.expand(x)))
        y = F.hardswish(self.norm2(self.depthwise(y)))
        y = y * F.hardsigmoid(self.excite(F.relu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        x = x + self.norm3(self.project(y))
        return self.head(x.mean((2, 3)))


class VisionTransformer(nn.Module):
    """Patches, a class token, learnt positions, pre-norm (Dosovitskiy et al. 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(1, 5, 16) * 0.02)
        layer = nn.TransformerEncoderLayer(16, 2, 20, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        return self.head(self.norm(self.encoder(x)[:, 0]))


class EncoderDecoder(nn.Module):
    """nn.Transformer, sequences first, from signals to a label by a learnt query; sinusoidal positions."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 16)
        self.query = nn.Parameter(torch.randn(1, 1, 16))
        self.transformer = nn.Transformer(16, 4, 1, 1, 20)
        self.head = nn.Linear(16, 4)
        angles = torch.arange(12)[:, None] / 100 ** (torch.arange(8) / 8)
        self.register_buffer("positions", torch.cat([angles.sin(), angles.cos()], 1)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        source = self.embed(x.transpose(0, 1)) + self.positions
        found = self.transformer(source, self.query.repeat(1, len(x), 1))
        return self.head(found[0])


class Seq2Seq(nn.Module):
    """The state of two LSTMs, one over the other, starts a cell."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(6, 10, num_layers=2, batch_first=True, dropout=0.1)
        self.norm = nn.LayerNorm(10)
        self.start = nn.Linear(10, 7)
        self.cell = nn.GRUCell(10, 7)
        self.head = nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        found, (h, _) = self.encoder(x)
        found, state = self.norm(found), torch.tanh(self.start(h[-1]))
        for step in range(3):
            state = self.cell(found[:, step], state)
        return self.head(state)


class Packed(nn.Module):
    """A packed sequence, and the last state of both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(6, 10, bidirectional=True, batch_first=True)
        self.head = nn.Linear(20, 4)

    def forward(self, x: Tensor) -> Tensor:
        lengths = torch.full((len(x),), 9)
        found, h = self.rnn(pack_padded_sequence(x, lengths, batch_first=True))
        padded, _ = pad_packed_sequence(found, batch_first=True)
        return self.head(padded.mean(1) + torch.cat([h[0], h[1]], 1))


class Handed(nn.Module):
    """The hidden state of one LSTM is that of another: they have the same units."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.LSTM(6, 10, batch_first=True), nn.LSTM(6, 10, batch_first=True)
        self.head = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        _, state = self.encoder(x)
        return self.head(self.decoder(x, state)[0].mean(1))


class Dense(nn.Module):
    """Each layer reads all earlier ones (Huang et al. 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(6 + 4 * n) for n in range(3))
        self.layers = nn.ModuleList(nn.Conv2d(6 + 4 * n, 4, 3, padding=1, bias=False) for n in range(3))
        self.norm, self.head = nn.BatchNorm2d(18), nn.Linear(18, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = torch.cat([x, layer(norm(x).relu())], 1)
        return self.head(self.norm(x).relu().mean((2, 3)))


class Rearranged(nn.Module):
    """Units in all orders: reversed, interleaved, tokens from channels, a transposed convolution in groups."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 12, 2, stride=2, groups=4)
        self.c = nn.Conv2d(12, 5, 1)
        self.fc, self.head = nn.Linear(5 * 16, 9), nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x).relu().flip(1)).relu()
        x = F.max_pool2d(self.c(self.up(x).relu().flip(1)), 4)
        return self.head(self.fc(x.permute(2, 0, 3, 1).transpose(0, 1).flatten(1).relu()).relu())


class Multiplied(nn.Module):
    """Depthwise with two outputs for each input, PReLU, an instance norm, a norm of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.act = nn.Conv2d(3, 6, 3, padding=1), nn.PReLU(6)
        self.each = nn.Conv2d(6, 12, 3, padding=1, groups=6)
        self.norm = nn.InstanceNorm2d(12, affine=True, track_running_stats=True)
        self.b, self.gain = nn.Conv2d(12, 8, 1), nn.Parameter(torch.ones(8))
        self.c, self.head = nn.Linear(8, 7), nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.each(self.act(self.a(x))))
        x = self.b(x).mean((2, 3))
        return self.head(self.c(x * (x.square().mean(1, keepdim=True) + 1e-5).rsqrt() * self.gain).relu())


class CrossAttention(nn.Module):
    """Keys and values of other widths than the queries; no biases."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.image = nn.Linear(6, 12), nn.Linear(6, 10)
        self.attend = nn.MultiheadAttention(12, 3, kdim=10, vdim=10, bias=False, batch_first=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        image = self.image(x).relu()
        found, weights = self.attend(self.text(x[:, :4]).relu(), image, image)
        return self.head(found.mean(1)) + weights.sum()
