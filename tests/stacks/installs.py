"""Install the package in fresh environments, and print what pip chose: `make test-installs`.

    python tests/stacks/installs.py [PYTHON ...]

For each interpreter (by default every Python from 3.10 to 3.13 that is found), and for
`pip install .` and `pip install ".[all]"`: a new virtual environment, the built wheel, and outside
the checkout `pip check`, smoke.py and `sphereface`. The stack of TensorFlow Addons, on Python 3.10
and 3.11, takes the sdist. One row of a Markdown table each; the exit status is 1 if any of them
failed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHOWN = ("tensorflow", "keras", "numpy", "pandas", "matplotlib", "opencv-python-headless")
# By heading: what must end well, in a folder without the checkout.
CHECKS = {
    "pip check": ("python", "-m", "pip", "check"),
    "smoke test": ("python", "-I", ROOT / "tests" / "stacks" / "smoke.py"),
    "--version": ("sphereface", "--version"),
    "convert --help": ("sphereface", "convert", "--help"),
}
HEADINGS = ("Python", "installed", *SHOWN, *CHECKS, "seconds", "GB")
# With pyenv, python3.12 on the path may be a stand-in that only lists the installed versions.
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
WITH_ADDONS = ("3.10", "3.11")


def output_of(*words, cwd=None, check=True) -> str:
    """Return the output of a command; if it fails and `check`, its last lines go into the error."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if check and done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-15:]
        raise RuntimeError("\n".join([" ".join(map(str, words)), *last]))
    return done.stdout if not done.returncode else ""


def interpreters() -> dict[str, str]:
    """The interpreters that can make environments, by version: {"3.11": path}."""
    paths_by_version = {}
    for version in ("3.10", "3.11", "3.12", "3.13"):
        for path in (f"python{version}", *sorted(PYENV.glob(f"{version}.*/bin/python"))):
            where = shutil.which(path)
            if where and output_of(where, "-c", "import ensurepip; print(1)", check=False):
                paths_by_version[version] = where
                break
    return paths_by_version


def version_of(python: str) -> str:
    """`3.11` and so on."""
    return output_of(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()


def try_install(python: str, package: Path, extras: str, folder: Path) -> tuple[list[str], bool]:
    """The row of one environment, and whether all of it went well."""
    start, good = time.monotonic(), True
    output_of(python, "-m", "venv", folder)
    run = folder / "bin" / "python"
    pip = (run, "-m", "pip", "--disable-pip-version-check")
    version = output_of(run, "-c", "import platform; print(platform.python_version())").strip()
    row = [version, f"{package.suffix.strip('.')}{extras}"]
    try:
        output_of(*pip, "install", "--quiet", f"{package}{extras}", cwd=folder)
        listed = output_of(*pip, "list", "--format=freeze").lower().splitlines()
        chosen = dict(line.split("==") for line in listed if "==" in line)
        row += [chosen.get(name, "-") for name in SHOWN]
        for program, *words in CHECKS.values():
            try:
                output_of(folder / "bin" / program, *words, cwd=folder)
                row.append("ok")
            except RuntimeError as error:
                print(error, file=sys.stderr)
                row.append("FAILED")
                good = False
    except RuntimeError as error:
        print(error, file=sys.stderr)
        row += ["-"] * (len(HEADINGS) - len(row) - 3) + ["NOT INSTALLED"]
        good = False
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return [*row, f"{time.monotonic() - start:.0f}", f"{size / 1e9:.1f}"], good


def main(chosen: list[str]) -> int:
    """Try all of them; the number of rows that failed."""
    paths = [shutil.which(path) or path for path in chosen] or list(interpreters().values())
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        output_of(sys.executable, "-m", "build", "--outdir", folder, ROOT)
        (wheel,), (sdist,) = Path(folder).glob("*.whl"), Path(folder).glob("*.tar.gz")
        print("| " + " | ".join(HEADINGS) + " |\n" + "|---" * len(HEADINGS) + "|", flush=True)
        for number, python in enumerate(paths):
            jobs = [(wheel, ""), (wheel, "[all]")]
            if version_of(python) in WITH_ADDONS:
                jobs.append((sdist, "[addons]"))
            for package, extras in jobs:
                environment = Path(folder) / f"venv-{number}"
                row, good = try_install(python, package, extras, environment)
                failed += not good
                print("| " + " | ".join(row) + " |", flush=True)
                shutil.rmtree(environment)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
