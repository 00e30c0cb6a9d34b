"""Records as tables and pictures."""

from byzsim.experiments.report.page import (
    NEVER,
    QUICK,
    Verdict,
    accuracy_text,
    build,
    grid,
    inject,
    print_table,
    provenance,
    summarise,
    swap_test,
    write_whole,
)
