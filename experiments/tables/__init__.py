"""Tables. To add one: a file here that ends in `SPEC = Table(...)`, and its name in this import list."""

from byzsim.experiments.plan import Table
from byzsim.experiments.tables import (
    aksel_few,
    aksel_servers,
    brsgd_table1,
    safeguard_detection,
    safeguard_table,
    safeguard_table_full,
    smoke,
    theory_rates,
    theory_saddle,
    zoo,
)

TABLES: dict[str, Table] = {name: module.SPEC for name, module in list(vars().items()) if hasattr(module, "SPEC")}
