"""`byzsim bench`: what things cost, measured."""

from experiments.errors import UserError, unknown


def main(args: list[str]) -> None:
    """The benchmark named first, with its options."""
    from experiments.bench import accelerator, scaling  # the child processes of `scaling` import this package too

    benchmarks = {"scaling": scaling.command, "accelerator": accelerator.command}
    if not args or args[0] in ("-h", "--help"):
        raise UserError(f"which benchmark? byzsim bench NAME [options], with NAME one of {', '.join(benchmarks)}")
    name, *rest = args
    if name not in benchmarks:
        raise unknown("benchmark", name, benchmarks)
    benchmarks[name](rest)
