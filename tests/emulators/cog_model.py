"""A model for the real cog runtime: says the prompt's words over and over, and counts them.

cog runs a copy of this file in a folder of its own (``tests/emulators/replicate_cog.py``).
"""

# mypy: disable-error-code="untyped-decorator,import-untyped,import-not-found,misc"
from __future__ import annotations

import time
from collections.abc import Iterator

from cog import BaseRunner, ConcatenateIterator, Input

SETUP_SECONDS = 1.2  # as long as loading small weights
PIECE_SECONDS = 0.02


class Runner(BaseRunner):
    def setup(self) -> None:
        time.sleep(SETUP_SECONDS)

    def run(
        self,
        prompt: str = Input(description="what to say"),
        max_tokens: int = Input(description="how many words", default=8),
    ) -> ConcatenateIterator[str]:
        words = prompt.split()
        self.record_metric("input_token_count", len(words))
        for count, word in enumerate(_over_and_over(words, max_tokens), start=1):
            time.sleep(PIECE_SECONDS)
            yield f"{word} "
            self.record_metric("output_token_count", count)


def _over_and_over(words: list[str], count: int) -> Iterator[str]:
    for index in range(count):
        yield words[index % len(words)]
