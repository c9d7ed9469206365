"""Labelled pictures to learn from, as LABEL/name.png: scikit-learn's digits, and drawings of four artists."""
