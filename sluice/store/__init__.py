"""The model store: archives of models, checked before they are put there and before TorchServe loads them.

An archive lies at NAME/VERSION/SHA256.mar below SLUICE_MODEL_STORE. A version exists when its bytes do: `publishing`
puts the bytes there first, then the row in `models`.
"""
