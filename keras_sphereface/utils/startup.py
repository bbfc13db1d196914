"""What the start of a process costs and shows: lean imports, and TensorFlow's start-up lines."""

import contextlib
import importlib
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from keras_sphereface.utils.progress import shown_on, stage

# Set for processes that only prepare images, which `utils.parallel` starts.
DATA_ONLY = "KERAS_SPHEREFACE_DATA_ONLY"
# Set by the command `sphereface` for itself and its processes, unless --verbose is given.
QUIET = "KERAS_SPHEREFACE_QUIET"
# Turns TensorFlow's kernels of oneDNN on or off.
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
# Names of the program that an installed package has, on Windows too.
PROGRAMS = ("sphereface", "sphereface.exe", "sphereface-script.py")
# Information, and complaints of a start on which nothing depends: factories that are registered
# twice, instructions that another build would use.
START_UP = re.compile(
    r"All log messages before absl::InitializeLog|^I\d{4} |: I |cpu_feature_guard|cudart_stub"
    r"|To enable the following instructions|Unable to register cu|computation_placer"
    r"|TF-TRT Warning|onednn",
    re.IGNORECASE,
)
# Advice of TensorFlow to who writes a program, which the user of a command cannot follow.
ADVICE = re.compile(r"triggered tf\.function retracing|not using nccl allreduce")
# Where there is no such GPU, nobody misses one; where there is, these lines say why it is not used.
NO_GPU = re.compile(r"failed call to cuInit|Cannot dlopen some GPU libraries|Could not find cuda")


_whole = False  # set while the package is imported once more, whole


def is_lean() -> bool:
    """Return whether `import keras_sphereface` is to import neither Keras nor TensorFlow.

    So it is in processes that only prepare images, and in the command `sphereface`, which answers
    `--help` and mistakes before it imports what takes seconds; and where Keras is not installed.

    Example:
        >>> is_lean()
        False
    """
    asked = bool(os.environ.get(DATA_ONLY)) or _is_command()
    return not _whole and (asked or bool(_missing("keras")))


def _missing(*packages: str) -> list[str]:
    return [name for name in packages if importlib.util.find_spec(name) is None]


def _is_command() -> bool:
    if sys.argv[:1] == ["-m"]:  # so it stands there while Python imports the package of `-m`
        words = getattr(sys, "orig_argv", [])
        return "-m" in words and words[words.index("-m") + 1 :][:1] == ["keras_sphereface"]
    return Path(sys.argv[0] if sys.argv else "").name in PROGRAMS


def check_backend() -> None:
    """Raise an ImportError if Keras on TensorFlow is not installed, or another backend asked for.

    Neither is imported, so that the answer needs no backend.

    Example:
        >>> check_backend()
    """
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow":
        raise ImportError(
            "The command runs on TensorFlow only; heads, losses, networks and "
            "`EmbeddingClassifier` run on every backend, from Python. Set "
            f"KERAS_BACKEND=tensorflow. Received: KERAS_BACKEND={backend}"
        )
    if missing := _missing("tensorflow", "keras"):
        raise ImportError(
            "The command needs TensorFlow and Keras: pip install keras-sphereface, with its "
            "dependencies. Faces are compared and found without them, by an .onnx network. "
            f"Received: an environment without {' and '.join(missing)}"
        )


def use_onednn() -> None:
    """Let TensorFlow, which is not imported yet, compute on CPUs by oneDNN.

    By itself it does so only on CPUs with certain instructions, although a training step is faster
    on others too: see docs/performance.md. A value of the variable in the environment stays.

    Example:
        >>> use_onednn()
        >>> os.environ[ONEDNN]
        '1'
    """
    os.environ.setdefault(ONEDNN, "1")


def import_whole_package() -> None:
    """Import what a lean start has left out, so that every class is registered with Keras."""
    global _whole
    package = sys.modules[__package__.partition(".")[0]]
    if not hasattr(package, "ASoftmax"):
        _whole = True
        with stage("loading TensorFlow"), without_start_up_lines():
            importlib.reload(package)
            # The drivers complain when they are first asked.
            importlib.import_module("tensorflow").config.list_physical_devices()
        if os.environ.get(QUIET):
            logging.getLogger("tensorflow").addFilter(
                lambda record: not ADVICE.search(record.getMessage())
            )


@contextlib.contextmanager
def without_start_up_lines() -> Iterator[None]:
    """Keep the lines that TensorFlow's libraries print at their start from standard error.

    They are written by libraries past Python's `sys.stderr`. What is written meanwhile is kept in a
    file and printed after the block, except for lines that are known to say nothing; an error
    prints all of them. It does nothing unless the variable `QUIET` is set.
    """
    if not os.environ.get(QUIET):
        yield
        return
    import tempfile  # only where it is needed: it takes a tenth of the start

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors: its warnings are of its own parts
    sys.stderr.flush()
    with os.fdopen(os.dup(2), "w") as kept, tempfile.TemporaryFile() as file, shown_on(kept):
        os.dup2(file.fileno(), 2)
        known = True
        try:
            yield
        except BaseException:
            known = False
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept.fileno(), 2)
            file.seek(0)
            lines = file.read().decode(errors="replace").splitlines()
            for line in lines:
                if not (known and says_nothing(line)):
                    print(line, file=sys.stderr)


def says_nothing(line: str) -> bool:
    """Return whether a line of TensorFlow's start says nothing that a user could act on.

    Example:
        >>> says_nothing("I0000 00:00:1 1 port.cc:153] oneDNN custom operations are on.")
        True
        >>> says_nothing("W0000 00:00:1 1 allocator.cc:1] Allocation exceeds 10% of memory.")
        False
    """
    has_gpu = Path("/dev/nvidiactl").exists()
    return bool(START_UP.search(line) or (not has_gpu and NO_GPU.search(line)))
