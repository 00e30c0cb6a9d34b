"""`byzsim verify`: repeat recorded runs and compare them with their records."""

import dataclasses

from byzsim.experiments import records
from byzsim.experiments.cli import options as table_options
from byzsim.experiments.cli.options import PartOptions
from byzsim.experiments.cli.output import log
from byzsim.experiments.errors import UserError
from byzsim.experiments.plan import runs
from byzsim.experiments.run import devices, session, verify


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verify(PartOptions):
    """Repeat recorded runs and compare them with their records."""

    sample: int = 5
    """number of runs, drawn at random"""
    seed: int = 0
    """seed of the draw"""


def main(args: list[str]) -> int:
    """Repeat some recorded runs. Return 1 if any of them differs from its record."""
    devices.use_all_cores()
    table, options, folder = table_options.read("verify", Verify, args)
    if options.sample < 1:
        raise UserError(f"--sample {options.sample} is below 1")
    devices.keep_compiled()
    config = options.config
    wanted = runs(config, options.only)
    keys = {records.key_of(run_config.as_dict()) for run_config in wanted}
    recorded = records.matching(records.read(folder / "runs.jsonl", log), wanted, config.data)
    recorded = [each for each in recorded if records.key_of(each) in keys]
    if not recorded:
        raise UserError(f"no records of these runs in {folder}: `byzsim status {table.name}` lists what is recorded")
    chosen = verify.sample(recorded, options.sample, options.seed)
    log(f"{len(chosen)} of {len(recorded)} recorded runs, drawn with seed {options.seed}:")
    settings = session.Settings(table=table.name, data=config.data, quick=options.quick, data_dir=options.data_dir)
    verdicts = verify.verify(chosen, settings, log)
    for verdict in verdicts:
        log(f"{records.label(verdict.key)}: {verdict.words}")
    agree = sum(verdict.agrees for verdict in verdicts)
    log(f"{agree} of {len(verdicts)} agree with their records")
    return 0 if agree == len(verdicts) else 1
