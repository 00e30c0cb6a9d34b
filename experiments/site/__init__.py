"""The documentation site, which `make docs` builds with MkDocs from `docs/`, the registries and the records.

`hook`: what MkDocs calls. `pages`: all pages and the navigation. `facts`, `settings`: what `results/` knows of members,
and its runs as cells. `catalogue`: a page for each member, an index, a comparison. `leaderboard`: rules under attacks,
which of them to use, the records. `reference`, `examples`: the API, the command line. `tutorials`: executed notebooks.
`docstrings`, `typeset`, `markup`, `charts`, `links`: what pages are made of. Only in a checkout.
"""
