"""From a table to its records: runs in batches, resumed, tried again, recorded; on one process or several."""
