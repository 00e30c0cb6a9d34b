"""The help texts of `byzsim` and of each of its commands."""

USAGE = """\
byzsim: Byzantine-robust distributed training, and the tables of its papers.

  byzsim run TABLE [options]       carry out every run that has no record yet, then make the report
  byzsim report TABLE [options]    make the table and the figures from the records
  byzsim status [TABLE] [options]  list which runs are done, failed, stale or missing, and why; nothing is run
  byzsim diff A B [--csv FILE]     compare two results folders run by run; exit code 1 if they differ
  byzsim export FOLDER [FILE]      the valid records as CSV, without those that newer records replace
  byzsim verify TABLE [--sample N] repeat recorded runs and compare; exit code 1 if one differs
  byzsim list                      rules, attacks, tasks, models, data sets, tables and so on, with their sources
  byzsim show NAME ...             one of them: description, options, variants, bound, how to select it
  byzsim new KIND NAME             write a file to start from: a table, rule, attack, task, model, data, partition
  byzsim zoo [options]             measure every rule: kappa found by attacks, effect of NaN; list all sources
  byzsim angles [--quick]          angle between each rule's output and the true gradient under the worst attack
  byzsim definitions [NAME ...]    names that have several definitions, side by side
  byzsim bench [--quick]           speed of byzsim and of its peers, in one run on this machine
  byzsim bench scaling             time and memory of rules against m and d
  byzsim bench calls               what a call of byzsim.aggregate costs beside the compiled rule
  byzsim bench pmean               what byzsim.robust_pmean costs beside jax.lax.pmean
  byzsim bench accelerator         a table, training steps and bandwidth on a GPU
  byzsim partition [NAME]          how much each worker has of each class
  byzsim schema                    the fields of a record, as a page
  byzsim data [NAME ...]           load data sets into the cache and print their sources

  run, report, status and verify also take, instead of TABLE, a file that defines one, such as my_table.py, or a
  results folder, such as results/smoke, with its settings

  byzsim COMMAND --help            what a command does, with examples
  byzsim run TABLE --help          every setting of a table that can be changed
  byzsim run TABLE --distributed   the same command on every host: runs spread over the devices of all hosts
  --plugins FILE ...               with run, report, status, verify, zoo, list, show: members of your own
  --debug                          with any command: the traceback of an error
  --version                        the version of byzsim

A first look, without a network:    byzsim run smoke
One run of a table, one epoch:     byzsim run brsgd_table1 --only rule=krum,attack=gaussian --epochs 1

Results go to results/TABLE. A run with changed settings goes to a folder of its own, results/TABLE+what=value, so it
never mixes with the table's results; more seeds and parts of the table (--only) go to results/TABLE.
A long folder name is shortened to its first words and a hash, results/TABLE+what=value+more-1a2b3c4d.
--name FOLDER chooses the folder's name; --title TEXT and --labels NAME=TEXT ... change the report.
"""

HELP = {
    "run": """\
byzsim run TABLE [options]: carry out every run that has no record yet, then make the report.

  byzsim run smoke                                              a first look in seconds
  byzsim run smoke --rules krum nnm+krum --attacks alie         other columns and rows; commas work too
  byzsim run smoke --m 11 --alphas 0 2/11                       2 of 11 workers are Byzantine
  byzsim run brsgd_table1 --only rule=krum,attack=gaussian      a part of a table
  byzsim run smoke --options gaussian.sigma=100                 an option; byzsim show NAME lists the options
  byzsim run smoke --momentum ema --momentum-beta 0 0.9 0.99    several values of any setting are an axis
  byzsim run smoke --rules krum --options krum.variant=blanchard2017,byzfl --worst-over attack
  byzsim run smoke --plugins my_rule.py --rules my_rule         your own rule, in my_rule.py
  byzsim run my_table.py                                        a table of your own; byzsim new table my_table
""",
    "report": """\
byzsim report TABLE [options]: make the table and the figures from the records; nothing is run.

  byzsim report smoke                                           after byzsim run smoke
  byzsim report smoke --epochs 2                                after byzsim run smoke --epochs 2
  byzsim report brsgd_table1 --inject README.md                 also into a page, between its markers
""",
    "status": """\
byzsim status [TABLE] [options]: list which runs are done, failed, stale or missing, and why; nothing is run.

  byzsim status                                                 one line for each results folder
  byzsim status brsgd_table1 --seeds 0 1 2                      a table, run by run
""",
    "diff": """\
byzsim diff A B [--csv FILE]: compare two results folders run by run; exit code 1 if they differ.

  byzsim diff results/brsgd_table1 elsewhere/brsgd_table1
  byzsim diff results/smoke results/smoke+lr=0.1 --csv runs.csv
""",
    "export": """\
byzsim export FOLDER [FILE]: the valid records as CSV, without those that newer records replace.

  byzsim export results/smoke                                   to the terminal
  byzsim export results/smoke runs.csv
""",
    "verify": """\
byzsim verify TABLE [options]: repeat recorded runs and compare them with their records; exit code 1 if one differs.

  byzsim verify brsgd_table1 --sample 5
  byzsim verify smoke --only rule=krum
""",
    "list": """\
byzsim list [--plugins FILE ...]: all members, schedules and tables, with their sources.

  byzsim list
  byzsim list --plugins my_rule.py                              also what my_rule.py defines
""",
    "show": """\
byzsim show NAME ... [--plugins FILE ...]: everything about a member of any kind, a schedule or a table.

  byzsim show krum                                              formula, options, variants, bound, source
  byzsim show nnm+krum burst+alie                               each part
  byzsim show my_rule --plugins my_rule.py                      your own rule
""",
    "new": """\
byzsim new KIND NAME: write NAME.py, a file to start from, which runs as it is; nothing is overwritten.

  byzsim new rule my_rule                                       then: byzsim run my_rule.py
  byzsim new table my_table                                     KIND: table, rule, attack, task, model, data, partition
""",
    "zoo": """\
byzsim zoo [options]: measure every rule: kappa found by attacks, effect of NaN, cost, bound.

  byzsim zoo --results /tmp/results                             the default size, 2 of 11 workers
  byzsim zoo --m 20 --f 4
""",
    "angles": """\
byzsim angles [options]: the angle between each rule's output and the true gradient, under the worst attack found.

  byzsim angles                                                 against d, n, f, s and the noise; minutes
  byzsim angles --quick --rules aksel krum median
""",
    "definitions": """\
byzsim definitions [NAME ...] [--output FILE]: names that have several definitions, side by side.

  byzsim definitions krum
  byzsim definitions --output docs/definitions.md               all of them, into a file
""",
    "bench": """\
byzsim bench [scaling | calls | pmean | accelerator] [options]: speed of byzsim and of its peers, in one run.

  byzsim bench --quick                                          two minutes
  byzsim bench scaling --help                                   time and memory against m and d
  byzsim bench calls                                            a call of byzsim.aggregate beside the compiled rule
  byzsim bench pmean                                            robust_pmean beside lax.pmean: bytes, memory, time
  byzsim bench accelerator --help                               a table, training steps, bandwidth; for a GPU
""",
    "partition": """\
byzsim partition [NAME] [options]: how many training examples of each class each worker has, before any run.

  byzsim partition dirichlet --options dirichlet.alpha=0.1 --data digits --m 10
  byzsim partition sorted_classes --output shards.pdf           also as a picture (.png, .svg, .pdf) or table (.csv)
""",
    "schema": """\
byzsim schema [--output FILE]: the fields of a record, with type, unit, meaning and the version that has them first.

  byzsim schema --output docs/records.md
""",
    "data": """\
byzsim data [NAME ...] [--data-dir FOLDER]: load data sets into the cache and print their sources.

  byzsim data fashion_mnist
  byzsim data mnist --data-dir ~/mnist                          from the original files
""",
}
OPTIONS = "All settings: byzsim {} TABLE --help, where TABLE is one of {}."
