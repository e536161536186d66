"""Writes values.safetensors: the first training step of the 3TN, 2TN, 1TN-FL and 1TN-GL in PyTorch.

    python make.py            (needs torch, numpy, safetensors; writes beside itself)

Network, weights and images are those of crates/nn/tests/golden/make_goldens.py. In double precision, rounded at the end.
"""
import pathlib
import sys

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parents[3] / "nn" / "tests" / "golden"))
from make_goldens import RoiNet, fill, values  # noqa: E402

SHAPE, STEP = (2, 1, 24, 20), 31


def region_mae(x, y, k):
    return ((x - y).abs() * k).sum() / k.sum()


def weighted_mae(x, y, k):
    n, inside = k.numel(), k.sum()
    return (n - inside) / n * region_mae(x, y, k) + inside / n * region_mae(x, y, 1 - k)


def dice_loss(p, k):
    return 1 - (2 * (p * k).sum() + 1) / ((p * p).sum() + (k * k).sum() + 1)


def losses(variant, out, ct, body, bone):
    if variant == "1tn-gl":
        return [(1.0, (out["whole_hu"] - ct).abs().mean())]
    terms = [(1.0, weighted_mae(out["whole_hu"], ct, body))]
    if variant == "3tn":
        terms.append((1.5, dice_loss(out["bone_mask"], bone)))
    if variant in ("3tn", "2tn"):
        terms.append((1.3, region_mae(out["bone_hu"], ct, bone)))
    return terms


out = {}
for variant in ("3tn", "2tn", "1tn-fl", "1tn-gl"):
    net = RoiNet(4)
    with torch.no_grad():
        fill(net)
    net = net.double().train()
    mr, ct = values("x", SHAPE).double(), values("ct", SHAPE).double()
    body = (values("body", SHAPE) > -0.5).double()
    bone = ((ct >= 0.25) & (body > 0.5)).double()
    terms = losses(variant, net(mr), ct, body, bone)
    total = sum(w * t for w, t in terms)
    total.backward()
    named = {k: p for k, p in net.named_parameters() if p.grad is not None}
    optimizer = torch.optim.NAdam(named.values(), lr=1e-3)
    out[f"{variant}.losses"] = torch.stack([total] + [t for _, t in terms]).detach()
    for k, p in named.items():
        out[f"{variant}.gradient.{k}"] = p.grad.flatten()[::STEP].clone()
    optimizer.step()
    for k, p in named.items():
        out[f"{variant}.stepped.{k}"] = p.detach().flatten()[::STEP]
save_file({k: v.float().contiguous() for k, v in out.items()}, HERE / "values.safetensors")
