"""Searches probe by probe in a process of its own, for `benchmarks.gallery`.

Usage: python -m keras_sphereface.benchmarks.gallery_process GALLERY PROBES NAME SECONDS

Prints the results as JSON. It imports neither Keras nor TensorFlow: what it holds is the gallery.
"""

import json
import sys
import time
from typing import Any

import numpy as np

from keras_sphereface.recognition import Gallery
from keras_sphereface.utils.progress import progress_bar

TOP = 5
LEAST_PROBES = 20  # of a search that has taken its seconds
NO_ADVICE = 1 << 60  # templates from which an index is advised


def search(place: str, path: str, name: str, most_seconds: float) -> dict[str, Any]:
    """Measure searches one by one, as long as the seconds last.

    Args:
        place: The gallery.
        path: File of the probes, .npy (N, D).
        name: Name of the search, for the progress.
        most_seconds: Seconds after which there are no more probes.

    Returns:
        "first_seconds", to open the gallery and search one probe; "median_ms" and "p99_ms" of a
        probe; "memory_bytes" that this process has taken; "names", the best one for each probe.
    """
    probes = np.load(path)
    before, start = _resident_bytes(), time.perf_counter()
    seconds: list[float] = []
    names: list[str] = []
    with Gallery.open(place) as gallery:
        gallery._store.index_above = NO_ADVICE
        gallery.search(probes[:1], TOP)
        first = time.perf_counter() - start
        with progress_bar(total=len(probes), desc=name, unit="probe", brief=True) as bar:
            for probe in probes:
                began = time.perf_counter()
                (matches,) = gallery.search(probe[None], TOP)
                seconds.append(time.perf_counter() - began)
                names.append(matches[0].name)
                bar.update()
                if len(names) >= LEAST_PROBES and time.perf_counter() - start > most_seconds:
                    break
        after = _resident_bytes()
    return {
        "first_seconds": first,
        "median_ms": 1e3 * float(np.median(seconds)),
        "p99_ms": 1e3 * float(np.quantile(seconds, 0.99)),
        "memory_bytes": max(0, after - before),
        "names": names,
    }


def _resident_bytes() -> int:
    """The memory of this process; 0 where the system does not tell it so."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
    except OSError:
        return 0
    return 1024 * int(lines["VmRSS"].split()[0])


if __name__ == "__main__":
    place, path, name, most_seconds = sys.argv[1:]
    print(json.dumps(search(place, path, name, float(most_seconds))))
