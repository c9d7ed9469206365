"""From pictures to a network: features, a last layer, its temperature, and the last blocks if asked.

What comes out depends on pictures, seed and machine only: not on how many cores there are, which pictures were computed
together, or how often the process was killed.
"""
