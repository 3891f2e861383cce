"""Official repositories as systems: a YAML says how to call one in its own environment."""
