"""Workers with different data: Dirichlet(0.1) shards, worker momentum 0.9, a cosine schedule, weight decay.

byzsim run examples/heterogeneous.py
byzsim run examples/heterogeneous.py --momentum-beta 0,0.9,0.99      # another axis
byzsim partition dirichlet digits --options dirichlet.alpha=0.1      # who has how much of what
"""

from byzsim.experiments.plan import Table, axis

SPEC = Table(
    name="heterogeneous",
    title="Heterogeneous digits: an MLP, 10 workers, 2 of them Byzantine",
    source="this file",
    base={
        "data": "digits",
        "model": "mlp",
        "m": 10,
        "alpha": 0.2,
        "batch": 16,
        "total_steps": 200,
        "eval_every": 50,
        "sampling": "replacement",  # shards of digits are small
        "lr": 0.2,
        "schedule": "cosine_decay_schedule",
        "schedule_args": {"decay_steps": 200},
        "weight_decay": 1e-4,
        "momentum": "ema",
        "momentum_beta": 0.9,
    },
    axes=(
        axis("rule", ["mean", "median", "nnm+median", "bucketing+median"]),
        axis("attack", ["alie", "mimic"]),
        axis(
            "data split",
            {
                "i.i.d.": {"partition": "iid"},
                "Dirichlet 0.1": {"partition": "dirichlet", "partition_args": {"alpha": 0.1}},
            },
        ),
    ),
    quick={"total_steps": 4, "eval_every": 2, "schedule_args": {"decay_steps": 4}},
)
