"""The members as they are: facts measured of every rule, and how far attacks move them."""
