"""Where the processes of slots are forked: it imports what they need, once for all of them, and does nothing else.

What is imported is in memory once, however many slots there are, and a slot that was ended is there again at once.
Nothing is opened here: no file, no network, no GPU, and no thread is started, as a fork would break them.
"""

from __future__ import annotations

import gc

gc.disable()  # it would look again and again through what is imported, and stays

# what is imported only where it is needed, slots will need
import processes.features.reading.gdal  # noqa: E402
import processes.features.reading.geoparquet  # noqa: E402
import processes.imagery.pictures  # noqa: E402
import processes.model.graph.preparation  # noqa: E402
import processes.model.graph.quantised  # noqa: E402
import processes.model.graph.weights  # noqa: E402
import processes.ogc.schema_faults  # noqa: E402
import processes.programs.slot_process  # noqa: E402, F401
from processes.model.runtime.runtimes import RUNTIMES  # noqa: E402

for runtime in RUNTIMES:
    runtime.load()
gc.enable()
gc.freeze()  # the collector would write to what is shared, and each process get a copy
