"""A system with the name of an installed one."""

from bench.api import Failure, System


class Impostor(System):
    """Would stand in the table as the upper bound."""

    name = "ground-truth"
    version = "1"
    tasks = ("vts",)

    def generate(self, requests):
        return [Failure("missing_output", "nothing") for _ in requests]
