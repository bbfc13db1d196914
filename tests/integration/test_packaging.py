"""The files that are built from a checkout, and their requirements."""

import importlib.metadata
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import keras_sphereface
from tests.conftest import ROOT

NAME = "keras-sphereface"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# Runs smoke.py on the package in a folder, whatever else is installed.
SMOKE = (
    "import runpy, sys; sys.path.insert(0, sys.argv[1]); runpy.run_path(sys.argv[2], None, {!r})"
)
NOT_COPIED = shutil.ignore_patterns(
    ".git",
    ".venv*",
    ".*_cache",
    ".hypothesis",
    "__pycache__",
    "*.egg-info",
    "build",
    "dist",
    "runs",
)


def required(extra: str = "", python: str = "3.12") -> dict[str, SpecifierSet]:
    """The requirements of an extra (by itself) on a Python: {package: versions}."""
    specifiers: dict[str, SpecifierSet] = {}
    for line in importlib.metadata.requires(NAME) or []:
        requirement = Requirement(line)
        marker, environment = requirement.marker, {"python_version": python}
        applies = marker is None or marker.evaluate({**environment, "extra": extra})
        without = marker is None or marker.evaluate({**environment, "extra": ""})
        if not applies or (extra and without):
            continue
        if requirement.name == NAME:  # an extra made of other extras
            further = [required(other, python) for other in sorted(requirement.extras)]
        else:
            further = [{requirement.name: requirement.specifier}]
        for packages in further:
            for name, specifier in packages.items():
                specifiers[name] = specifiers.get(name, SpecifierSet()) & specifier
    return specifiers


def test_the_version_is_that_of_the_metadata():
    assert keras_sphereface.__version__ == importlib.metadata.version(NAME)


# Series that package indexes hold.
PUBLISHED = {
    "tensorflow": [f"2.{minor}" for minor in range(12, 22)],
    "tensorboard": [f"2.{minor}" for minor in range(12, 22)],
    "keras": ["2.12", "2.13", "2.14", "2.15", *(f"3.{minor}" for minor in range(16))],
}


@pytest.mark.parametrize(
    ("package", "offered"),
    [
        ("tensorflow", [f"2.{minor}" for minor in range(15, 22)]),
        ("tensorboard", [f"2.{minor}" for minor in range(15, 22)]),
        ("keras", ["2.15", *(f"3.{minor}" for minor in range(8, 16))]),
    ],
)
def test_series_are_offered_from_the_oldest_on_which_the_tests_pass(package, offered):
    for python in PYTHONS:
        allowed = required(python=python)[package]
        assert [series for series in PUBLISHED[package] if f"{series}.2" in allowed] == offered


def lowest_on_keras_3(name: str, allowed: SpecifierSet) -> Version:
    """The lowest version that is allowed, for the stack above that of TensorFlow Addons."""
    if name not in PUBLISHED:
        return max(Version(one.version) for one in allowed if one.operator == ">=")
    versions = [Version(f"{series}.{patch}") for series in PUBLISHED[name] for patch in range(3)]
    if name == "tensorflow":
        versions.remove(Version("2.16.0"))  # it was never published
    return min(version for version in allowed.filter(versions) if version >= Version("2.16"))


def test_the_oldest_environment_has_the_lowest_version_of_every_dependency():
    lines = (ROOT / "tests" / "stacks" / "oldest.txt").read_text().splitlines()
    held = [Requirement(line) for line in lines if not line.startswith("#")]
    assert all(str(requirement.specifier).startswith("==") for requirement in held)
    pinned = {one.name: Version(str(one.specifier)[2:]) for one in held}
    allowed = required(python="3.10") | required("parquet", python="3.10")
    assert pinned == {name: lowest_on_keras_3(name, allowed[name]) for name in allowed}


README = """# Title

![A figure](docs/a.png)

*Its
caption.*

<picture>
  <source media="(prefers-color-scheme: dark)" srcset="docs/a-dark.png">
  <img src="docs/b.png" alt="A figure
  in light and dark">
</picture>

*Its caption.*

[![badge](docs/c.svg)](docs/c.ipynb)

See [b](docs/b.md), [c](https://c.org).
"""


def test_links_of_the_description_are_absolute_where_the_repository_is_known():
    setup = runpy.run_path(str(ROOT / "setup.py"))
    address = setup["repository"]('[project.urls]\nRepository = "https://a.org/x/"\n')
    expected = README.replace("docs/a.png", "https://a.org/x/raw/HEAD/docs/a.png")
    picture = "![A figure\n  in light and dark](https://a.org/x/raw/HEAD/docs/b.png)"
    expected = re.sub("<picture>.*</picture>", picture, expected, flags=re.DOTALL)
    expected = expected.replace("docs/c.svg", "https://a.org/x/raw/HEAD/docs/c.svg")
    expected = expected.replace("docs/c.ipynb", "https://a.org/x/blob/HEAD/docs/c.ipynb")
    expected = expected.replace("docs/b.md", "https://a.org/x/blob/HEAD/docs/b.md")
    assert setup["description"](README, address) == expected
    assert setup["repository"]('[project.urls]\nPaper = "https://b.org"\n') == ""
    assert "See b, [c](https://c.org)." in setup["description"](README, "")
    assert not {"figure", "caption", "badge"} & set(
        re.findall(r"\w+", setup["description"](README, ""))
    )


def test_code_of_the_readme_stays_as_it_is_in_the_description():
    setup = runpy.run_path(str(ROOT / "setup.py"))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) > 3
    for address in ("", "https://a.org/x"):
        described = setup["description"](text, address)
        assert re.findall(r"^```.*?^```", described, re.MULTILINE | re.DOTALL) == blocks
        assert not re.search(r"\]\([\w/]+\.(?:md|png)\)", described)


@pytest.mark.parametrize("python", PYTHONS)
def test_all_is_every_feature_and_nothing_for_developers(python):
    features = (
        "parquet detect duplicates beam onnx postgres faiss serve interactive notebook".split()
    )
    everything = {name for feature in features for name in required(feature, python)}
    assert set(required("all", python)) == everything
    assert not everything & {*required("test", python), "tensorflow-addons", "jax", "ruff"}
    assert everything < set(required("dev", python))


def test_addons_hold_the_older_stack_on_every_python():
    # Without such a TensorFlow pip must fail, not skip the extra.
    for python in PYTHONS:
        held = required("addons", python)
        assert str(held["tensorflow"]) == "==2.15.1"
        assert str(held["tensorflow-addons"]) == "==0.23.0"
        assert held["keras"].contains("2.15.0")
        assert not held["keras"].contains("3.15.1")
        assert not held["numpy"].contains("2.0.0")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    """The sdist of this checkout, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT, folder / "checkout", ignore=NOT_COPIED)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", folder / "dist", folder / "checkout"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    stem = f"keras_sphereface-{keras_sphereface.__version__}"
    return folder / "dist" / f"{stem}.tar.gz", folder / "dist" / f"{stem}-py3-none-any.whl"


def files_of(folder: Path) -> set[str]:
    """The files under a folder of the checkout that belong to it."""
    return {
        str(path.relative_to(ROOT))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.full
def test_the_sdist_holds_the_files_that_build_and_test_it(built):
    with tarfile.open(built[0]) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    for folder in ("keras_sphereface", "tests", "tools", "examples", ".ci"):
        assert files_of(ROOT / folder) <= files
    assert files >= {"setup.py", "pyproject.toml", "MANIFEST.in", "Makefile"}
    assert files >= {"README.md", "CHANGELOG.md", "LICENSE"}


@pytest.mark.full
def test_the_wheel_holds_the_package_and_its_metadata(built):
    with zipfile.ZipFile(built[1]) as wheel:
        files = {name for name in wheel.namelist() if ".dist-info/" not in name}
        (metadata,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
        text = wheel.read(metadata).decode()
        scripts = wheel.read(metadata.replace("METADATA", "entry_points.txt")).decode()
    assert files == files_of(ROOT / "keras_sphereface")
    assert "keras_sphereface/py.typed" in files
    head = text.partition("\n\n")[0]
    assert "\nLicense-Expression: MIT\n" in head
    assert "\nProject-URL: Paper, https://" in head
    assert "\nKeywords: SphereFace," in head
    assert "\nDescription-Content-Type: text/markdown" in head
    images = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert all(image.startswith("https://") for image in images)
    assert "sphereface = keras_sphereface.__main__:main" in scripts
    assert re.findall(r"Python :: (3\.\d+)", head) == list(PYTHONS)
    (range_,) = re.findall(r"^Requires-Python: (.+)$", head, re.M)
    outside = [f"3.{minor}" for minor in (9, 14) if SpecifierSet(range_).contains(f"3.{minor}.1")]
    assert not outside
    assert all(SpecifierSet(range_).contains(f"{python}.1") for python in PYTHONS)


@pytest.mark.full
def test_the_wheel_works_outside_the_checkout(built, tmp_path):
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--target", tmp_path / "site", built[1]], check=True)
    smoke = ROOT / "tests" / "stacks" / "smoke.py"
    done = subprocess.run(
        [sys.executable, "-I", "-c", SMOKE.format("__main__"), tmp_path / "site", smoke],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "smoke test passed" in done.stdout
    assert f"the package lies in {tmp_path / 'site' / 'keras_sphereface'}" in done.stdout
