"""The consumer: receives objects from the producers, has TorchServe classify them, and commits what it says."""
