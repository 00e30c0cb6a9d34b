"""Pages about the members of the registries.

`rules`: measured facts about every rule. `definitions`: the definitions that share a name, side by side. `attacks`: the
error that each attack causes in each rule.
"""
