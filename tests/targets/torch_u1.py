"""A user's U(1) theory in PyTorch, and what makes it a target: the example of the README."""

import torch


def action(x, beta):  # links x[chain, mu, t, s]
    p = x[:, 0] + x[:, 1].roll(-1, 1) - x[:, 0].roll(-1, 2) - x[:, 1]
    return beta * (1 - p.cos()).sum((1, 2))


def force(x, beta):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(action(x, beta).sum(), x)[0]


def leapfrog(x, v, beta, eps, n):
    for _ in range(n):
        v = v - eps / 2 * force(x, beta)
        x = x + eps * v
        v = v - eps / 2 * force(x, beta)
    return x, v


def hmc(x, beta, eps, n, generator):
    v = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    y, w = leapfrog(x, v, beta, eps, n)
    delta_h = action(y, beta) - action(x, beta) + (w**2 - v**2).sum((1, 2, 3)) / 2
    accept = torch.rand(len(x), generator=generator, dtype=x.dtype) < torch.exp(-delta_h)
    return torch.where(accept[:, None, None, None], torch.remainder(y + torch.pi, 2 * torch.pi) - torch.pi, x)


# --- the adapter: 14 lines ---
class TorchU1:
    theory, name = "u1", "my PyTorch HMC"

    def __init__(self, beta=2.0, shape=(4, 4), step_size=0.3, n_steps=5):
        self.beta, self.shape, self.step_size, self.n_steps = beta, shape, step_size, n_steps

    def action(self, x):  # NumPy float64 in, tensors out
        return action(torch.from_numpy(x), self.beta)

    def force(self, x):
        return force(torch.from_numpy(x), self.beta)

    def forward(self, z):  # the proposal, with the logdet of its Jacobian
        end = leapfrog(*map(torch.from_numpy, z), self.beta, self.step_size, self.n_steps)
        return end, torch.zeros(len(end[0]))

    def step(self, x, seed):
        generator = torch.Generator().manual_seed(seed % (2**32 - 5))  # PyTorch drops all but 32 bits: fold 63 of them
        return hmc(torch.from_numpy(x), self.beta, self.step_size, self.n_steps, generator)


# --- end of the adapter ---
