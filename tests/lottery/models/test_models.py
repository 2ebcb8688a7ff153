import pytest
import torch
from torch import nn

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.network.models import MODELS, Conv2, Conv4, Conv6, Lenet, Mlp, Model, ResNet, Vgg
from lth_sweep.lottery.network.structure import Network

CIFAR, MNIST, DIGITS = (3, 32, 32), (1, 28, 28), (1, 8, 8)


def parameters(model: Model, shape: tuple[int, ...]) -> int:
    return sum(parameter.numel() for parameter in model.build(torch.zeros(2, *shape), 10).parameters())


def test_lenet_has_the_266200_weights_of_the_paper() -> None:
    network = Network(Lenet().build(torch.zeros(2, *MNIST), 10), torch.zeros(2, *MNIST))
    sizes = {name: tuple(layer.weight.shape) for name, layer in network.layers.items()}
    assert sizes == {"fc1": (300, 784), "fc2": (100, 300), "output": (10, 100)}
    assert sum(a * b for a, b in sizes.values()) == 266_200


@pytest.mark.parametrize(("model", "count"), [
    # convolutions with biases, then (inputs + 1) * outputs of each Linear
    (Conv2(), 1_792 + 36_928 + (64 * 16 * 16 + 1) * 256 + 257 * 256 + 257 * 10),
    (Conv4(), 1_792 + 36_928 + 73_856 + 147_584 + (128 * 8 * 8 + 1) * 256 + 257 * 256 + 257 * 10),
    (Conv6(), 1_792 + 36_928 + 73_856 + 147_584 + 295_168 + 590_080 + (256 * 4 * 4 + 1) * 256 + 257 * 256 + 257 * 10),
    # stem; stages of 6, 1 + 5 and 1 + 5 convolutions; 1x1 shortcuts; 2 per BatchNorm channel; Linear
    (ResNet(), 432 + 6 * 2_304 + 4_608 + 5 * 9_216 + 18_432 + 5 * 36_864 + 512 + 2_048
     + 2 * (7 * 16 + 7 * 32 + 7 * 64) + 650),
    # convolutions, 9 * inputs * outputs; 2 per BatchNorm channel; Linear
    (Vgg(), 9 * (3 * 64 + 64 * 64 + 64 * 128 + 128 * 128 + 128 * 256 + 2 * 256 * 256 + 256 * 512 + 5 * 512 * 512)
     + 2 * (2 * 64 + 2 * 128 + 3 * 256 + 6 * 512) + 5_130),
])  # fmt: skip
def test_parameter_counts_on_cifar(model: Model, count: int) -> None:
    assert parameters(model, CIFAR) == count


def test_documented_parameter_counts() -> None:
    counts = [parameters(model, CIFAR) for model in (Conv2(), Conv4(), Conv6(), ResNet(), Vgg())]
    assert counts == [4_301_642, 2_425_930, 2_262_602, 272_474, 14_724_042]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("shape", [CIFAR, MNIST])
def test_every_model_takes_images_and_ends_in_its_output_layer(kind: str, shape: tuple[int, ...]) -> None:
    model = MODELS[kind]()
    module = model.build(torch.zeros(2, *shape), 7)
    assert module(torch.zeros(2, *shape)).shape == (2, 7)
    assert Network(module, torch.zeros(2, *shape)).output == ("output",)
    assert model.kind == kind


@pytest.mark.parametrize("model", [Mlp(), Lenet(), Conv2(width=0.1), Conv4(width=0.1), Conv6(width=0.1), ResNet(8)])
def test_models_for_digits(model: Model) -> None:
    assert model.build(torch.zeros(2, *DIGITS), 10)(torch.zeros(2, *DIGITS)).shape == (2, 10)


@pytest.mark.parametrize("kind", MODELS)
def test_each_activation_is_a_module_that_is_used_once(kind: str) -> None:
    module, calls = MODELS[kind]().build(torch.zeros(2, *CIFAR), 10), []
    activations = [part for part in module.modules() if isinstance(part, nn.ReLU)]
    for activation in activations:
        activation.register_forward_hook(lambda part, *_: calls.append(part))
    module(torch.zeros(2, *CIFAR))
    assert sorted(map(id, calls)) == sorted(map(id, activations))
    layers = len(Network(module, torch.zeros(2, *CIFAR)).layers)
    shortcuts = 2 if kind == "resnet-20" else 0
    assert len(activations) == layers - 1 - shortcuts


def test_depth_and_width() -> None:
    def channels(model: Model) -> list[int]:
        return [part.out_channels for part in model.build(torch.zeros(2, *CIFAR), 10).modules()
                if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3)]  # fmt: skip

    assert channels(ResNet(depth=32)) == [16] * 11 + [32] * 10 + [64] * 10
    assert channels(ResNet(depth=8, width=0.5)) == [8] * 3 + [16] * 2 + [32] * 2
    assert channels(Vgg(depth=19, width=0.25)) == [16] * 2 + [32] * 2 + [64] * 4 + [128] * 8
    assert channels(Conv4(width=2)) == [128, 128, 256, 256]
    assert channels(Conv2(width=0.001)) == [1, 1]


def test_a_resnet_adds_the_input_of_each_block() -> None:
    block = ResNet(8).build(torch.zeros(2, *CIFAR), 10).get_submodule("block1").eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.rand(2, 16, 4, 4)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(("model", "shape", "message"), [
    (Conv2(), (40,), r"model conv-2 needs images of at least 2x2 pixels, .* but inputs are \[40\]"),
    (Conv6(), (1, 8, 7), r"model conv-6 needs images of at least 8x8 pixels, .* but inputs are \[1, 8, 7\]"),
    (ResNet(), (40,), r"model resnet-20 needs images, \[channels, height, width\], but inputs are \[40\]"),
    (Vgg(), DIGITS, r"model vgg-16 needs images of at least 16x16 pixels, .* but inputs are \[1, 8, 8\]"),
])  # fmt: skip
def test_inputs_that_do_not_fit(model: Model, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        model.build(torch.zeros(2, *shape), 10)


@pytest.mark.parametrize(("kind", "options", "message"), [
    ("mlp", {"hidden": (300, 0)}, r"hidden: widths must be 1 or more, but got \(300, 0\)"),
    ("conv-4", {"width": 0.0}, "width: must be above 0, but got 0"),
    ("resnet-20", {"depth": 18}, r"depth: must be 6n \+ 2 .* but got 18"),
    ("resnet-20", {"depth": 2}, r"depth: must be 6n \+ 2 .* but got 2"),
    ("resnet-20", {"width": -1.0}, "width: must be above 0, but got -1"),
    ("vgg-16", {"depth": 13}, "depth: must be 16 or 19, but got 13"),
    ("vgg-16", {"width": 0.0}, "width: must be above 0, but got 0"),
])  # fmt: skip
def test_options_out_of_range(kind: str, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MODELS[kind](**options)
