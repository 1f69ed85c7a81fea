"""Everything that touches Ray Tune: trainable, searchers, schedulers, the run."""
