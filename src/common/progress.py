"""How far a stage is, in one line where the stage runner looks for it."""

import math
import os
import time
from pathlib import Path

from common.project import write_atomically


class Line:
    """One line in the file named by HELPERS_PROGRESS, at most twice a second; nothing without it."""

    def __init__(self) -> None:
        self.told = 0.0
        self.place = os.environ.get("HELPERS_PROGRESS", "") if os.environ.get("RANK", "0") == "0" else ""

    def due(self) -> bool:
        """Whether anybody looks, and the last line is old enough."""
        return bool(self.place) and time.monotonic() - self.told >= 0.5

    def leave(self, line: str) -> None:
        """Put this line in the place of the last one."""
        self.told = time.monotonic()
        if self.place:
            write_atomically(Path(self.place), line)


class Progress(Line):
    """That of a training."""

    def __init__(self, name: str, steps: int, first: int, tokens_a_step: float) -> None:
        super().__init__()
        self.name, self.steps, self.first, self.tokens_a_step = name, steps, first, tokens_a_step
        self.began = time.monotonic()

    def tell(self, step: int, loss: float, rate: float) -> None:
        """Leave what is trained, step, loss, tokens a second, learning rate and the time that is left."""
        if not (self.due() or (self.place and step >= self.steps)):
            return
        pace = (step - self.first) / (time.monotonic() - self.began)
        minutes, seconds = divmod(round((self.steps - step) / pace), 60)
        known = f"loss {loss:.3f}  " if math.isfinite(loss) else ""  # that of the first step is not read yet
        line = f"{self.name}: step {step:,}/{self.steps:,}  {known}{pace * self.tokens_a_step:,.0f} tok/s  "
        self.leave(line + f"rate {rate:.1e}  {minutes}:{seconds:02d} left")
