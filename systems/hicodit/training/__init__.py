"""Training of ``hicodit``: clips' records, the stages, and what is measured on the way."""
