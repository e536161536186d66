"""PyTorch's time for a training step (AdamW) or an evaluation of the three-task network."""

import torch
import torch.nn.functional as F
from torch import nn

from measure import arguments, autocast, prepared, report, resident_mib


class Block(nn.Module):
    """Two branches, 5x5 and 3x3: dilated convolution, batch norm, ELU, spatial dropout; joined by a 1x1 convolution."""

    def __init__(self, inputs, filters, dilation, dropout):
        super().__init__()
        self.conv5 = nn.Conv2d(inputs, filters, 5, padding=2 * dilation, dilation=dilation, bias=False)
        self.bn5 = nn.BatchNorm2d(filters)
        self.conv3 = nn.Conv2d(inputs, filters, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn3 = nn.BatchNorm2d(filters)
        self.conv1 = nn.Conv2d(2 * filters, filters, 1)
        self.dropout = dropout

    def branch(self, x, conv, norm):
        return F.dropout2d(F.elu(norm(conv(x))), self.dropout, self.training)

    def forward(self, x):
        branches = [self.branch(x, self.conv5, self.bn5), self.branch(x, self.conv3, self.bn3)]
        return self.conv1(torch.cat(branches, 1))


class Head(nn.Module):
    """A block of its own and one channel; the activation is the caller's."""

    def __init__(self, inputs, filters, dropout):
        super().__init__()
        self.block = Block(inputs, filters, 1, dropout)
        self.conv = nn.Conv2d(filters, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(1)

    def forward(self, x):
        return self.bn(self.conv(self.block(x)))


class ThreeTaskNetwork(nn.Module):
    def __init__(self, f, dropout):
        super().__init__()
        self.c1 = Block(1, f, 1, dropout)
        self.c2 = Block(f, f + 4, 2, dropout)
        self.c3 = Block(f + 4, f + 8, 4, dropout)
        self.c4 = Block(f + 8, f + 16, 8, dropout)
        self.c5 = Block(f + 16, f + 16, 8, dropout)
        self.c6 = Block((f + 16) + (f + 8), f + 8, 4, dropout)
        self.c7 = Block((f + 8) + (f + 4), f + 4, 2, dropout)
        self.whole_hu, self.bone_hu, self.bone_mask = (Head((f + 4) + f, f, dropout) for _ in range(3))

    def forward(self, x):
        x1 = self.c1(x)
        x2 = self.c2(x1)
        x3 = self.c3(x2)
        x5 = self.c5(self.c4(x3))
        x6 = self.c6(torch.cat([x5, x3], 1))
        x7 = self.c7(torch.cat([x6, x2], 1))
        last = torch.cat([x7, x1], 1)
        return self.whole_hu(last), F.relu(self.bone_hu(last)), torch.sigmoid(self.bone_mask(last))


def loss(outputs, ct, bone_hu, bone_mask):
    whole, bone, probability = (output.float() for output in outputs)
    # On some processors oneDNN's weight gradients of dilated bf16 convolutions come out as NaN now and then, or crash (seen
    # with PyTorch 2.15 on an AMD Zen 5). NaN would be an error here; so the step can be timed, and the report says it.
    probability = torch.nan_to_num(probability).clamp(1e-6, 1 - 1e-6)
    cross_entropy = F.binary_cross_entropy(probability, bone_mask)
    return (whole - ct).abs().mean() + 1.3 * ((bone - bone_hu).abs() * bone_mask).mean() + 1.5 * cross_entropy


options = arguments()
base_mib = resident_mib("VmRSS")
torch.set_num_threads(options.threads)
torch.manual_seed(0)
shape = (options.batch, 1, options.size, options.size)
ct, bone_hu, bone_mask = torch.randn(shape), torch.rand(shape), (torch.rand(shape) > 0.8).float()
network = ThreeTaskNetwork(options.filters, 0.1).train(options.mode == "train")
optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
network, mr = prepared(options, network, torch.randn(shape))


def train():
    optimizer.zero_grad(set_to_none=True)
    with autocast(options):
        outputs = network(mr)
    value = loss(outputs, ct, bone_hu, bone_mask)
    value.backward()
    optimizer.step()
    return value.detach()


def evaluate():
    with torch.no_grad(), autocast(options):
        network(mr)


report(options, train if options.mode == "train" else evaluate, base_mib)
