"""Results as JSON lines, one for each run, from `byzsim.experiments import records`.

`identities`: what decides a result, as a hash. `schema`: the fields of a record. `store`: the files, and their lock.
`migrations`: names of earlier versions. `provenance`: commit, versions, device. `folders`: the names of folders, and
config.json. `diff`, `status`: comparisons.
"""

from byzsim.experiments.records.identities import (
    AXES,
    MATMUL,
    Record,
    RunKey,
    changes,
    config_of,
    identifier,
    identity,
    key_of,
    label,
    matching,
    run_id,
    run_id_of,
    spelled_out,
)
from byzsim.experiments.records.provenance import code, origin, provenance_line, versions
from byzsim.experiments.records.schema import FAILURE_FIELDS, RUN_FIELDS, failure, metrics_of, reason, record, series_of
from byzsim.experiments.records.store import (
    append,
    check_writable,
    exclusive,
    further_fields,
    read,
    read_folder,
    valid,
)
