"""How far a training is, in one line where the stage runner looks for it."""

import math
import os
import time
from pathlib import Path

from helpers.project import write_atomically


class Progress:
    """One line of progress in the file named by HELPERS_PROGRESS, at most twice a second; nothing without it."""

    def __init__(self, steps: int, first: int, tokens_a_step: float) -> None:
        self.steps, self.first, self.tokens_a_step = steps, first, tokens_a_step
        self.began, self.told = time.monotonic(), 0.0
        self.place = os.environ.get("HELPERS_PROGRESS", "") if os.environ.get("RANK", "0") == "0" else ""

    def tell(self, step: int, loss: float, rate: float) -> None:
        """Leave step, loss, tokens a second, learning rate and the time that is left."""
        if not self.place or (time.monotonic() - self.told < 0.5 and step < self.steps):
            return
        self.told = time.monotonic()
        pace = (step - self.first) / (self.told - self.began)
        left = (self.steps - step) / pace
        known = f"loss {loss:.3f}  " if math.isfinite(loss) else ""  # that of the first step is not read yet
        line = f"step {step:,}/{self.steps:,}  {known}{pace * self.tokens_a_step:,.0f} tok/s  "
        line += f"rate {rate:.1e}  {left // 60:.0f}:{left % 60:02.0f} left"
        write_atomically(Path(self.place), line)
