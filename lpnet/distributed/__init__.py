"""Training in several processes, with the same bits for any number of them; docs/guides/processes.md has the design.

In the order in which they are read: shards (the part of a batch that is computed now), lockstep (the shards of one
process), processes (what they tell each other), gradients (their sum), batches (how batches are dealt out).
"""

from .batches import by_shards, deal, first, from_first, gathered, init, on, settings, share, together

__all__ = ["by_shards", "deal", "first", "from_first", "gathered", "init", "on", "settings", "share", "together"]
