"""From a table to its records: cells in batches, resumed, tried again, recorded; on one process or several."""
