"""Model archives for TorchServe, made of recipes: network, weights, labels, card, handler and image code in one file.

A recipe (`recipe`) names weights and labels (`sources`, `weights`, `programs`, `labels`); `card` says what came of it,
and `making` writes the archive and tries it. `python -m trainer.archives`, scripts/build-model and
`sluice models build` are the same command.
"""
