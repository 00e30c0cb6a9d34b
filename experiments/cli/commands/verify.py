"""`byzsim verify`: repeat recorded runs and compare them with their records."""

import dataclasses

from byzsim.experiments import records
from byzsim.experiments.cli import options as table_options
from byzsim.experiments.cli import planned
from byzsim.experiments.cli.options import PartOptions
from byzsim.experiments.cli.output import log
from byzsim.experiments.errors import UserError
from byzsim.experiments.plan.runs import further_fields
from byzsim.experiments.run import devices, session, verify


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verify(PartOptions):
    """Repeat recorded runs and compare them with their records."""

    sample: int = 5
    """number of runs, drawn at random"""
    draw_seed: int = 0
    """seed of the draw"""


def main(args: list[str]) -> int:
    """Repeat some recorded runs. Return 1 if any of them differs from its record."""
    devices.use_all_cores()
    request = table_options.read("verify", Verify, args)
    table, options, folder = request.table, request.options, request.folder
    if options.sample < 1:
        raise UserError(f"--sample {options.sample} is below 1")
    devices.keep_compiled()
    found = records.read(folder / "runs.jsonl", log)
    wanted = planned.everything(request, found)
    seeds = {(records.run_id(*run), run[1].seed) for run in wanted}
    recorded = [each for each in records.matching(found, wanted) if (records.run_id_of(each), each["seed"]) in seeds]
    if not recorded:
        raise UserError(f"no records of these runs in {folder}: `byzsim status {table.name}` lists what is recorded")
    chosen = verify.sample(recorded, options.sample, options.draw_seed)
    log(f"{len(chosen)} of {len(recorded)} recorded runs, drawn with seed {options.draw_seed}:")
    settings = session.Settings(
        table=table.name, quick=options.quick, data_dir=options.data_dir, further=further_fields(table)
    )
    verdicts = verify.verify(chosen, settings, log)
    for verdict in verdicts:
        log(f"{records.label(verdict.key, settings.further)}: {verdict.words}")
    agree = sum(verdict.agrees for verdict in verdicts)
    log(f"{agree} of {len(verdicts)} agree with their records")
    return 0 if agree == len(verdicts) else 1
