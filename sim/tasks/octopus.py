"""The octopus function: a chain of d saddle points before the minima."""

import math

import jax
import jax.numpy as jnp
from byzsim.options import Count, NotNegative, Positive, checked
from byzsim.task import Data, Task, make_task
from byzsim.types import Spec


@checked
def octopus(
    *,
    d: Count = 5,
    curvature: Positive = math.e,
    gamma: Positive = 1.0,
    tau: Positive = math.e,
    noise: NotNegative = 1.0,
) -> Task:
    r"""The octopus function: plain gradient descent takes time exponential in d to leave its saddles.

    With $a_j = |x_j|$ and $i$ the first index with $a_i \le 2\tau$,

    $$f(x) = L \sum_{j<i} (a_j - 4\tau)^2 - (i-1)\nu +
      \begin{cases} -\gamma a_i^2 + L \sum_{j>i} x_j^2 & a_i \le \tau \\
      g_1(a_i) + g_2(a_i)\, x_{i+1}^2 + L \sum_{j>i+1} x_j^2 & \tau < a_i \le 2\tau \end{cases}$$

    $g_1(a) = -\gamma a^2 + \frac{10\gamma - 14L}{3\tau}(a-\tau)^3 + \frac{5L - 3\gamma}{2\tau^2}(a-\tau)^4$,
    $g_2(a) = -\gamma - \frac{10(L+\gamma)}{\tau^3}(a-2\tau)^3 - \frac{15(L+\gamma)}{\tau^4}(a-2\tau)^4 -
    \frac{6(L+\gamma)}{\tau^5}(a-2\tau)^5$, $\nu = -g_1(2\tau) + 4L\tau^2$. For i = d there is no next coordinate; with
    no such i, f is the first sum less $d\nu$. The minima lie at $a_j = 4\tau$.

    An example is noise: the loss of an example is $f(x) + \xi^\top x$ with $\xi$ on the sphere of radius `noise`. x
    starts at 0, the first saddle; noise that a method adds on purpose is `RunConfig.server_noise`. Measured: `loss`
    f(x), `saddles` (the number of coordinates, from the first on, that are past $2\tau$), and `min_eigenvalue`, the
    smallest eigenvalue of the Hessian.

    Args:
        d: coordinates (static).
        curvature: L.
        gamma: the negative curvature at a saddle is $-2\gamma$.
        tau: width of a stage.
        noise: radius V of honest gradient noise.
    References: Du, Jin, Lee, Jordan, Poczos, Singh, NeurIPS 2017 (arXiv 1705.10412).
    """

    def g1(a):
        fourth = (5 * curvature - 3 * gamma) / (2 * tau**2) * (a - tau) ** 4
        return -gamma * a**2 + (10 * gamma - 14 * curvature) / (3 * tau) * (a - tau) ** 3 + fourth

    def g2(a):
        u, both = a - 2 * tau, curvature + gamma
        return -gamma - 10 * both / tau**3 * u**3 - 15 * both / tau**4 * u**4 - 6 * both / tau**5 * u**5

    def value(x):
        a, index = jnp.abs(x), jnp.arange(d)
        passed = jnp.cumprod(a > 2 * tau).sum()  # i - 1, from 0
        here, after = index == passed, index == passed + 1
        current = jnp.where(here, a, 0).sum()
        squares = jnp.square(x)
        behind = curvature * jnp.where(index < passed, jnp.square(a - 4 * tau), 0).sum()
        near = -gamma * current**2 + curvature * jnp.where(index > passed, squares, 0).sum()
        far = g1(current) + g2(current) * jnp.where(after, squares, 0).sum()
        far = far + curvature * jnp.where(index > passed + 1, squares, 0).sum()
        depth = -g1(2 * tau) + 4 * curvature * tau**2
        stage = jnp.where(current <= tau, near, far)
        return behind - passed * depth + jnp.where(passed < d, stage, 0.0)

    def sample(key, worker, n):
        del worker
        z = jax.random.normal(key, (n, d))
        return Data(noise * z / jnp.linalg.norm(z, axis=1, keepdims=True))

    def measure(x, facts):
        del facts
        return {
            "loss": value(x),
            "saddles": jnp.cumprod(jnp.abs(x) > 2 * tau).sum().astype(jnp.float32),
            "min_eigenvalue": jnp.linalg.eigvalsh(jax.hessian(value)(x))[0],
        }

    return make_task(
        init=lambda key, example: jnp.zeros(d),
        loss=lambda x, batch: value(x) + batch.inputs @ x,
        metrics=lambda x, batch: {},
        measure=measure,
        sample=sample,
    )


SPEC = Spec(octopus, source="Du et al., NeurIPS 2017")
