"""A command in a process of its own, which tells what it has imported."""

import os
import subprocess
import sys

from tests.conftest import ROOT

_CODE = (
    "import sys; sys.argv[0] = 'sphereface'; from keras_sphereface.commands.main import main;"
    "main(sys.argv[1:]);"
    "print({'keras', 'tensorflow', 'pandas', 'matplotlib'} & set(sys.modules))"
)


def run_and_tell_imports(words):
    """Run `sphereface WORDS`; the last line of its output is the set of heavy packages."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _CODE, *words.split()]
    return subprocess.run(command, env=environment, capture_output=True, text=True)
