"""Writes the PyTorch reference values of synthct-nn's tests.

    python make_goldens.py            (needs torch, numpy, safetensors; writes beside itself)

Inputs and weights are not stored: both sides compute them from `values`, an integer hash.
"""
import pathlib

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


def values(name, shape):
    """Reproducible values in [-1, 1), a function of the name and the position."""
    key = 0
    for byte in name.encode():
        key = (key * 31 + byte) % 2**32
    h = (np.arange(int(np.prod(shape)), dtype=np.uint64) * 2654435761 + key) % 2**32
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        h = ((h ^ (h >> np.uint64(shift))) * factor) % 2**32
    h = h ^ (h >> np.uint64(16))
    return torch.from_numpy((h.astype(np.float64) / 2**31 - 1).astype(np.float32)).reshape(shape)


class Block(nn.Module):
    def __init__(self, inputs, filters, dilation):
        super().__init__()
        self.conv5 = nn.Conv2d(inputs, filters, 5, padding=2 * dilation, dilation=dilation, bias=False)
        self.bn5 = nn.BatchNorm2d(filters)
        self.conv3 = nn.Conv2d(inputs, filters, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn3 = nn.BatchNorm2d(filters)
        self.conv1 = nn.Conv2d(2 * filters, filters, 1)

    def forward(self, x):
        return self.conv1(torch.cat([F.elu(self.bn5(self.conv5(x))), F.elu(self.bn3(self.conv3(x)))], 1))


class Head(nn.Module):
    def __init__(self, filters):
        super().__init__()
        self.conv = nn.Conv2d(filters, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(1)

    def forward(self, x):
        return self.bn(self.conv(x))


class RoiNet(nn.Module):
    """The network of doi:10.48550/arXiv.2203.16288, figure 1, without dropout."""

    def __init__(self, f):
        super().__init__()
        self.c1, self.c2, self.c3 = Block(1, f, 1), Block(f, f + 4, 2), Block(f + 4, f + 8, 4)
        self.c4, self.c5 = Block(f + 8, f + 16, 8), Block(f + 16, f + 16, 8)
        self.c6, self.c7 = Block(2 * f + 24, f + 8, 4), Block(2 * f + 12, f + 4, 2)
        for task in ("whole_hu", "bone_hu", "bone_mask"):
            self.add_module(f"c8_{task}", Block(2 * f + 4, f, 1))
            self.add_module(f"head_{task}", Head(f))

    def forward(self, x):
        x1 = self.c1(x)
        x2 = self.c2(x1)
        x3 = self.c3(x2)
        x5 = self.c5(self.c4(x3))
        x6 = self.c6(torch.cat([x5, x3], 1))
        x7 = self.c7(torch.cat([x6, x2], 1))
        u = torch.cat([x7, x1], 1)
        return {
            "whole_hu": self.head_whole_hu(self.c8_whole_hu(u)),
            "bone_hu": F.relu(self.head_bone_hu(self.c8_bone_hu(u))),
            "bone_mask": torch.sigmoid(self.head_bone_mask(self.c8_bone_mask(u))),
        }


class ConvBlock(nn.Module):
    def __init__(self, conv, relu=True):
        super().__init__()
        self.conv, self.bn, self.relu = conv, nn.BatchNorm2d(conv.out_channels), relu

    def forward(self, x):
        x = self.bn(self.conv(x))
        return F.relu(x) if self.relu else x


def keeping(inputs, outputs, relu=True):
    return ConvBlock(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), relu)


def halving(inputs, outputs):
    return ConvBlock(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False))


class UNet(nn.Module):
    """The U-Net of `crates/nn/src/unet.rs`, without dropout."""

    def __init__(self, inputs, outputs, f, depth, residual_blocks):
        super().__init__()
        self.depth, self.residual_blocks = depth, residual_blocks
        filters = [f * min(2**level, 8) for level in range(depth + 1)]
        self.stem = keeping(inputs, f)
        for level in range(1, depth + 1):
            self.add_module(f"down{level}", halving(filters[level - 1], filters[level]))
            self.add_module(f"up{level}", keeping(filters[level], filters[level - 1]))
            self.add_module(f"merge{level}", keeping(2 * filters[level - 1], filters[level - 1]))
        for n in range(1, residual_blocks + 1):
            bottom = filters[depth]
            self.add_module(f"middle{n}", nn.ModuleDict({"first": keeping(bottom, bottom), "second": keeping(bottom, bottom, False)}))
        self.last = nn.Conv2d(f, outputs, 3, padding=1)

    def forward(self, x):
        skips = [self.stem(x)]
        for level in range(1, self.depth + 1):
            skips.append(self.get_submodule(f"down{level}")(skips[-1]))
        x = skips.pop()
        for n in range(1, self.residual_blocks + 1):
            block = self.get_submodule(f"middle{n}")
            x = x + block["second"](block["first"](x))
        for level in range(self.depth, 0, -1):
            skip = skips.pop()
            x = F.interpolate(x, skip.shape[2:], mode="bilinear", align_corners=False)
            x = self.get_submodule(f"up{level}")(x)
            x = self.get_submodule(f"merge{level}")(torch.cat([x, skip], 1))
        return self.last(x)


class Discriminator(nn.Module):
    def __init__(self, inputs, f):
        super().__init__()
        widths = [inputs] + [f * min(2**n, 8) for n in range(5)]
        for n in range(1, 6):
            self.add_module(f"down{n}", halving(widths[n - 1], widths[n]))
        self.last = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, x):
        for n in range(1, 6):
            x = self.get_submodule(f"down{n}")(x)
        return self.last(x)


def fill(net, prefix=""):
    for name, tensor in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        v = values(prefix + name, tensor.shape)
        if tensor.dim() == 4:
            v = v / np.float32(np.sqrt(tensor[0].numel()))
        elif "running_var" in name or (".bn" in name and name.endswith("weight")):
            v = 1 + v / 2
        else:
            v = v / 2
        tensor.copy_(v)


def roi_net(filters, shape, step):
    """Outputs in both modes, gradients of Σ coefficient · output and running statistics after the step.

    Of each gradient every `step`-th value, row by row, which keeps the file small.
    In double precision, rounded at the end, so that the tolerance is all ours.
    """
    net = RoiNet(filters)
    with torch.no_grad():
        fill(net)
    net = net.double()
    x = values("x", shape).double().requires_grad_()
    out = {}
    net.eval()
    with torch.no_grad():
        out |= {f"eval.{k}": v for k, v in net(x).items()}
    net.train()
    results = net(x)
    sum((values(f"coefficient.{k}", v.shape) * v).sum() for k, v in results.items()).backward()
    out |= {f"train.{k}": v.detach() for k, v in results.items()}
    gradients = {"x": x.grad} | {k: p.grad for k, p in net.named_parameters()}
    out |= {f"gradient.{k}": v.flatten()[::step] for k, v in gradients.items()}
    out |= {f"buffer.{k}": b for k, b in net.named_buffers() if "running" in k}
    save_file({k: v.float().contiguous() for k, v in out.items()}, HERE / f"roi_net_f{filters}" / "values.safetensors")


def single_output(net, folder, prefix, shape):
    """As `roi_net`, for a network with one output and all gradients."""
    with torch.no_grad():
        fill(net, prefix)
    net = net.double()
    x = values("x", shape).double().requires_grad_()
    net.eval()
    with torch.no_grad():
        out = {"eval": net(x)}
    net.train()
    y = net(x)
    (values("coefficient", y.shape) * y).sum().backward()
    out |= {"train": y.detach(), "gradient.x": x.grad}
    out |= {f"gradient.{prefix}{k}": p.grad for k, p in net.named_parameters()}
    out |= {f"buffer.{prefix}{k}": b for k, b in net.named_buffers() if "running" in k}
    (HERE / folder).mkdir(exist_ok=True)
    save_file({k: v.float().contiguous() for k, v in out.items()}, HERE / folder / "values.safetensors")


def ops():
    out = {}

    def case(name, fn, **shapes):
        inputs = {k: values(f"{name}.{k}", s).double().requires_grad_() for k, s in shapes.items()}
        y = fn(**inputs)
        (values(f"{name}.coefficient", y.shape) * y).sum().backward()
        out[f"{name}.out"] = y.detach()
        out.update({f"{name}.gradient.{k}": v.grad for k, v in inputs.items()})

    for name, k, d, x in (("conv5", 5, 2, (2, 3, 5, 7)), ("conv3", 3, 8, (1, 2, 9, 33)), ("conv1", 1, 1, (2, 7, 4, 5))):
        case(name, lambda x, w, b, d=d, k=k: F.conv2d(x, w, b, 1, d * (k - 1) // 2, d), x=x, w=(5, x[1], k, k), b=(5,))
    act = {"linear": lambda z: z, "elu": F.elu, "relu": F.relu, "sigmoid": torch.sigmoid}
    factors = torch.tensor([[0.0, 1.25, 1.25], [1.25, 0.0, 1.25]]).reshape(2, 3, 1, 1)
    for name, f in act.items():
        shapes = dict(x=(2, 3, 5, 7), gain=(3,), bias=(3,))
        case(f"norm_{name}", lambda x, gain, bias, f=f: factors * f(F.batch_norm(x, None, None, gain, bias, True)), **shapes)
    case("conv_down", lambda x, w, b: F.conv2d(x, w, b, 2, 1), x=(2, 3, 9, 14), w=(5, 3, 4, 4), b=(5,))
    case("conv_mixed", lambda x, w, b: F.conv2d(x, w, b, (1, 3), (2, 0), (2, 1)), x=(1, 2, 7, 11), w=(4, 2, 3, 2), b=(4,))
    case("conv_up", lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1), x=(2, 3, 4, 7), w=(3, 5, 4, 4), b=(5,))
    case("conv_up_mixed", lambda x, w, b: F.conv_transpose2d(x, w, b, (3, 2), (1, 2), (2, 1), 1, (1, 2)),
         x=(1, 2, 3, 5), w=(2, 3, 2, 3), b=(3,))
    case("conv_volume", lambda x, w, b: F.conv3d(x, w, b, (1, 2, 1), 1, (1, 1, 2)), x=(2, 2, 4, 7, 6), w=(3, 2, 3, 3, 2), b=(3,))
    case("max_pool", lambda x: F.max_pool2d(x, (3, 2), (2, 3)), x=(2, 2, 8, 9))
    case("avg_pool", lambda x: F.avg_pool2d(x, (3, 2), (2, 3)), x=(2, 2, 8, 9))
    case("nearest", lambda x: F.interpolate(x, (7, 10)), x=(1, 2, 3, 5))
    for name, align in (("bilinear", False), ("bilinear_corners", True)):
        case(name, lambda x, a=align: F.interpolate(x, (7, 3), mode="bilinear", align_corners=a), x=(1, 2, 3, 5))
    save_file({k: v.float().contiguous() for k, v in out.items()}, HERE / "ops" / "values.safetensors")


if __name__ == "__main__":
    roi_net(4, (2, 1, 24, 20), 1)
    roi_net(16, (1, 1, 13, 29), 13)
    single_output(UNet(2, 2, 3, 2, 2), "unet", "", (2, 2, 19, 22))
    single_output(Discriminator(3, 2), "discriminator", "discriminator.", (2, 3, 32, 64))
    ops()
    print("torch", torch.__version__)
