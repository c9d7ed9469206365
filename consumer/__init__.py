"""The consumer: receives objects from producers, gets predictions from TorchServe, and commits them."""
