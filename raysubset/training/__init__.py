"""One model trained on given batches: recipe, learning rate, loop, evaluation, checkpoint."""
