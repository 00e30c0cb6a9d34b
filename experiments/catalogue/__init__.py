"""The members as they are.

`rules`: facts measured of every rule. `definitions`: of one name, side by side. `attacks`: how far they move rules.
"""
