"""CSIM: similarity of the identities of generated and reference faces, one module per recogniser."""
