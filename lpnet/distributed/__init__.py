"""Training in several processes, with the same bits for any number of them; docs/guides/processes.md has the design.

In the order in which they are read: shards (the part of a batch that is computed now), lockstep (the shards of one
process), processes (what they tell each other), gradients (their sum), batches (how a batch and a data set are dealt out).
"""

from .batches import by_shards, deal, first, from_first, init, on, settings, share, together

__all__ = ["by_shards", "deal", "first", "from_first", "init", "on", "settings", "share", "together"]
