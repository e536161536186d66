"""PyTorch's time for a training step (Adam) of the pix2pix-like pair of `crates/nn/examples/pix2pix_step.rs`."""

import torch
import torch.nn as nn
import torch.nn.functional as F

from measure import arguments, autocast, prepared, report, resident_mib


class Block(nn.Module):
    """Convolution without bias, batch normalization and perhaps ReLU."""

    def __init__(self, conv, relu=True):
        super().__init__()
        self.conv, self.norm, self.relu = conv, nn.BatchNorm2d(conv.out_channels), relu

    def forward(self, x):
        x = self.norm(self.conv(x))
        return F.relu(x) if self.relu else x


def down(inputs, outputs):
    return Block(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False))


def up(inputs, outputs):
    return Block(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False))


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first = Block(nn.Conv2d(channels, channels, 3, 1, 1, bias=False))
        self.second = Block(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), relu=False)

    def forward(self, x):
        return x + self.second(self.first(x))


class Generator(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.down1, self.down2, self.down3 = down(3, f), down(f, 2 * f), down(2 * f, 4 * f)
        self.middle = nn.Sequential(*(Residual(4 * f) for _ in range(4)))
        self.up1, self.up2 = up(4 * f, 2 * f), up(4 * f, f)
        self.last = nn.ConvTranspose2d(2 * f, 1, 4, 2, 1)

    def forward(self, x):
        x1 = self.down1(x)
        x2 = self.down2(x1)
        x3 = self.middle(self.down3(x2))
        y = torch.cat([self.up1(x3), x2], 1)
        y = torch.cat([self.up2(y), x1], 1)
        return torch.tanh(self.last(y))


class Discriminator(nn.Module):
    def __init__(self, f):
        super().__init__()
        widths = (4, f, 2 * f, 4 * f, 8 * f, 8 * f)
        self.blocks = nn.Sequential(*(down(i, o) for i, o in zip(widths, widths[1:])))
        self.last = nn.Conv2d(8 * f, 1, 4, 1, 1)

    def forward(self, x, y):
        return torch.sigmoid(self.last(self.blocks(torch.cat([x, y], 1))))


def bce(prediction, real):
    prediction = prediction.float()
    return F.binary_cross_entropy(prediction, torch.full_like(prediction, float(real)))


options = arguments()
base_mib = resident_mib("VmRSS")
torch.set_num_threads(options.threads)
torch.manual_seed(1)
generator, discriminator = Generator(options.filters), Discriminator(options.filters)
adam_g, adam_d = (
    torch.optim.Adam(module.parameters(), 2e-4, betas=(0.5, 0.999)) for module in (generator, discriminator)
)
side = options.size
x, y = torch.rand(options.batch, 3, side, side), torch.rand(options.batch, 1, side, side)
g, x, y = prepared(options, generator, x, y)
(d,) = prepared(options, discriminator)


def step():
    with autocast(options):
        fake = g(x)
    discriminator.requires_grad_(True)
    adam_d.zero_grad(set_to_none=True)
    with autocast(options):
        real_patches, fake_patches = d(x, y), d(x, fake.detach())
    loss_d = (bce(real_patches, True) + bce(fake_patches, False)) * 0.5
    loss_d.backward()
    adam_d.step()
    discriminator.requires_grad_(False)
    adam_g.zero_grad(set_to_none=True)
    with autocast(options):
        patches = d(x, fake)
    loss_g = bce(patches, True) + 100 * F.l1_loss(fake.float(), y)
    loss_g.backward()
    adam_g.step()
    return loss_d.detach() + loss_g.detach()


report(options, step, base_mib)
