"""The documentation site, which `make docs` builds with MkDocs from `docs/`, the registries and the records.

`hook`: what MkDocs calls. `pages`: all pages and the navigation. `facts`: what is known of each member, from registry,
records and measurements. `catalogue`: a page for each member, an index, a comparison. `leaderboard`: rules under
attacks. `reference`: the API, the command line. `tutorials`: executed notebooks. `links`: from file to file.
`typeset`: formulas. Only in a checkout: its sources and results lie beside it.
"""
