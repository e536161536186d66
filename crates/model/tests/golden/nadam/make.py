"""Twenty NAdam steps of PyTorch on given gradients; writes steps.json beside this script."""

import json
import pathlib

import torch

torch.manual_seed(1)
N_STEPS, N_PARAMETERS, LEARNING_RATE = 20, 7, 1e-2
# Scales from 1e-4 to 10: the step must not depend on a gradient's size, except through epsilon.
scale = torch.tensor([1e-4, 1e-3, 1e-2, 0.1, 1.0, 3.0, 10.0])
gradients = torch.randn(N_STEPS, N_PARAMETERS) * scale
gradients[3, 2] = 0.0
parameter = torch.nn.Parameter(torch.randn(N_PARAMETERS))
start = parameter.detach().clone()
optimizer = torch.optim.NAdam([parameter], lr=LEARNING_RATE, foreach=False)
after = []
for gradient in gradients:
    parameter.grad = gradient.clone()
    optimizer.step()
    after.append(parameter.detach().clone().tolist())
golden = {
    "learning_rate": LEARNING_RATE,
    "start": start.tolist(),
    "gradients": gradients.tolist(),
    "after": after,
}
path = pathlib.Path(__file__).with_name("steps.json")
path.write_text(json.dumps(golden) + "\n")
