"""What the kernel of a stage runs first: collect garbage more seldom.

Libraries make some million objects that stay; looking through them again and again is a sixth of the time of importing.
"""

import gc

gc.set_threshold(500_000, 10, 10)
