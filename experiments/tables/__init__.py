"""Tables. To add one: a file here that ends in `ENTRY = Table(...)`, and its name in this import list."""

from byzsim.experiments.plan import Table
from byzsim.experiments.tables import brsgd_table1, smoke, zoo

TABLES: dict[str, Table] = {name: module.ENTRY for name, module in list(vars().items()) if hasattr(module, "ENTRY")}
