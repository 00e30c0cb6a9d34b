"""docs/records.md: the fields of a record as a page."""

from byzsim.experiments.files import markdown_table
from byzsim.experiments.records import traces
from byzsim.experiments.records.schema import FAILURE, PARTS, VERSION, Field

HEAD = f"""# Records

Made by `byzsim schema --output docs/records.md` from `experiments/records/schema.py`, which also checks records.

A results folder has `runs.jsonl`, a JSON object a line for each run, and `failures.jsonl` for runs that failed. Where
a large `runs.jsonl` was packed as `runs.jsonl.xz` (`xz runs.jsonl; touch runs.jsonl`), it has what came since.
Lines are appended whole and never rewritten: of several records of one run the last is valid. `load_results(folder)`
reads them as a DataFrame, with fields under today's names; `byzsim export FOLDER` writes them as CSV.

This is version {VERSION} of the schema. A record says its version in `schema`; without it, it is of version 1 (byzsim
0.1 and 0.2). A record of a later version is refused. Records of version 1 lack the fields of version 2; of those that
say what the run is, records of version 2 lack the ones that have their default. So a run of version 1 is the same run
today. In version 1 `partition` had the name `sharding`, and `partition_args.alpha` the name `dirichlet_alpha`.

**Bold**: every record has it. *since* is the first version of the schema that has the field. None is null in JSON.
"""
TRACE = """## traces/ID.npz

Of runs with `byzsim run --trace`, a file for each, named by the record's `id`; `load_trace(folder, id)` reads it.

{}
"""
FRAMES = """## As a DataFrame

```python
from byzsim.experiments import load_results, load_trace

runs = load_results("results/smoke")  # a row for each run
curves = load_results("results/smoke", per="measurement")  # a row for each run and measurement
trace = load_trace("results/smoke", runs["id"][0])  # a row for each step and worker, after byzsim run smoke --trace
```

The first columns are the table's axes with the names of its settings, and the seed. A row for each run has the last
value of each metric as `final_accuracy`, `final_loss` and so on; a row for each measurement has `measurement`, from 1,
`step` where there is an `eval_every`, and every metric and diagnostic, NaN from the measurement on at which the run had
diverged. `from_histories([({"rule": "krum", "seed": 0}, simulate(...)), ...])` and `run_table("smoke")` give the same
frames.
"""


def page() -> str:
    """The page, as markdown."""
    parts = {**PARTS, "Of a run that failed, instead of what was measured": FAILURE}
    sections = [f"## {title}\n\n{_table(fields)}\n" for title, fields in parts.items()]
    about = (traces.__doc__ or "").partition("\n\n")[2].strip()
    return "\n".join([HEAD, *sections, TRACE.format(about), FRAMES])


def _table(fields: tuple[Field, ...]) -> str:
    rows = [(_name(field), field.kind.words, field.unit, field.since, field.meaning) for field in fields]
    return markdown_table(["field", "type", "unit", "since", "meaning"], rows)


def _name(field: Field) -> str:
    return f"**`{field.name}`**" if field.required else f"`{field.name}`"
