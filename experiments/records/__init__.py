"""Results as JSON lines, one for each run, from `byzsim.experiments import records`.

`identities`: what decides a result, as a hash. `schema`: the fields of a record. `store`: the files, and their lock.
`migrations`: names of earlier versions. `provenance`: commit, versions, device. `folders`: the names of folders, and
config.json. `diff`, `status`: comparisons.
"""

from byzsim.experiments.records.identities import (
    MATMUL,
    Place,
    Record,
    changes,
    identifier,
    identity,
    label,
    matching,
    place,
    run_config_of,
    spelled_out,
)
from byzsim.experiments.records.provenance import code, made_by, origin, versions
from byzsim.experiments.records.schema import RUN_FIELDS, failure, reason, record
from byzsim.experiments.records.store import append, check_writable, exclusive, load_results, read, read_folder
