"""Hooks of mkdocs: pages made from the package and the checkout, links to both, and diagrams.

The home page is the README, so that both say the same; the reference of names comes from the
`__all__` of each folder, that of commands from the parser itself.
"""

import ast
import contextlib
import html
import io
import itertools
import os
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "keras_sphereface"
# Files of the checkout that are pages, by their path there.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "examples/sphereface_tour.ipynb": "sphereface_tour.ipynb",
    "examples/feature_spheres.png": "images/feature_spheres.png",
    "examples/feature_spheres-dark.png": "images/feature_spheres-dark.png",
}
# Pages of text around a file.
WRAPPED = {
    "LICENSE": ("license.md", "# License\n\n```text\n{text}```\n"),
    "CITATION.cff": ("citation.md", "# How to cite\n\n```yaml\n{text}```\n"),
}
# Folders of the reference, the most used first, and what they hold.
FOLDERS = {
    "heads": "A-Softmax and its family",
    "losses": "losses of Keras",
    "layers": "layers of preprocessing",
    "models": "the networks of the paper",
    "callbacks": "what watches a training",
    "training": "training on records",
    "data": "everything from a file to a batch",
    "recognition": "two faces compared, galleries of identities",
    "serving": "recognition over HTTP",
    "evaluation": "protocols on models and files",
    "export": "networks in and out",
    "metrics": "arrays in, numbers out",
    "functional": "the mathematics, on tensors",
    "plots": "data to axes",
    "reporting": "pages and figure files",
    "distribute": "several devices",
    "experiments": "spheres, margins, comparisons",
    "config": "settings of the commands",
    "backend": "tensors of TensorFlow, JAX and PyTorch",
}
# A page of a folder begins with its docstring, without the names.
OF_FOLDER = """\
# {0}

::: {0}
    options:
      members: false
      show_root_heading: false
      show_root_toc_entry: false
"""


def on_config(config):
    """Put the reference, and pages that it does not name, into the navigation."""
    named = set(re.findall(r"[\w/]+\.md", str(config.nav)))
    others = sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.name not in named)
    if others:
        guides = next(section for section in config.nav if "Guides" in section)
        guides["Guides"].append({"More": others})
    names = [{name: f"reference/{name}.md"} for name in packages()]
    reference = next(section for section in config.nav if "Reference" in section)
    reference["Reference"].insert(1, {"Python": ["reference/index.md", *names]})
    return config


@event_priority(100)  # before mkdocs-jupyter looks for notebooks
def on_files(files, config):
    """Add the pages that are made from the package and from files of the checkout."""
    for source, page in PAGES.items():
        if page == Path(source).name:  # as mkdocs-jupyter needs it
            folder = str((ROOT / source).parent)
            files.append(File(page, folder, config.site_dir, config.use_directory_urls))
        else:
            files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for source, (page, form) in WRAPPED.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=form.format(text=text)))
    pages = {"reference/index.md": index_of_names(), "reference/commands.md": help_of_commands()}
    pages |= {f"reference/{package}.md": names_of(package) for package in packages()}
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn links to files of the checkout into links to their pages, and draw diagrams.

    An image beside which lies one whose name ends in "-dark" is that one on dark pages. A
    `<picture>`, with which GitHub does the same, is such an image: it would follow the settings of
    the browser, not those of the page.
    """
    del config
    markdown = re.sub(
        r'<picture>.*?<img src="([^"]+)" alt="([^"]*)">\s*</picture>',
        r"![\2](\1)",
        markdown,
        flags=re.S,
    )
    inside = page.file.src_uri not in PAGES.values()

    def link(match):
        path, anchor = match[1], match[2] or ""
        path = os.path.normpath(path if not inside else f"docs/{path}").replace(os.sep, "/")
        target = PAGES.get(path) or (WRAPPED[path][0] if path in WRAPPED else None)
        if target is None:
            target = path.removeprefix("docs/")
        return f"]({target}{anchor})"

    if not page.file.src_uri.startswith("reference/"):
        markdown = re.sub(r"\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)", link, markdown)

    def both(match):
        text, stem = match.groups()
        if files.get_file_from_path(f"{stem}-dark.png") is None:
            return match[0]
        return f"![{text}]({stem}.png#only-light)![{text}]({stem}-dark.png#only-dark)"

    markdown = re.sub(r"!\[([^\]]*)\]\(([^)#\s]+)\.png\)", both, markdown)
    return re.sub(r"^```mermaid\n(.*?)^```$", lambda m: diagram(m[1]), markdown, flags=re.M | re.S)


def on_post_page(output, page, config):
    """Set formulas as MathML, which browsers show by themselves."""
    del config
    if page.file.src_uri.endswith(".ipynb"):
        parts = re.split(r"(<(script|style|pre|code)\b.*?</\2>)", output, flags=re.S)
        # Each code element comes with the name of its tag.
        texts = [formulas(text, r"\$\$(.+?)\$\$", r"\$(.+?)\$") for text in parts[::3]]
        elements = [*parts[1::3], ""]
        return "".join(text + code for text, code in zip(texts, elements, strict=True))
    return formulas(output, r"\\\[(.+?)\\\]", r"\\\((.+?)\\\)", within="arithmatex")


def formulas(text, block, inline, within=None):
    """Return HTML whose formulas of TeX, as two patterns find them, are MathML."""

    def typeset(display):
        return lambda match: convert(html.unescape(match[1]), display=display)

    def both(part):
        part = re.sub(block, typeset("block"), part, flags=re.S)
        return re.sub(inline, typeset("inline"), part, flags=re.S)

    if within is None:
        return both(text)
    element = rf'<(span|div) class="{within}">.*?</\1>'
    return re.sub(element, lambda match: both(match[0]), text, flags=re.S)


# --- the reference of names --------------------------------------------------------------------


def packages():
    """Return the folders that have public names, the most used first, as dotted names."""
    inits = sorted((ROOT / PACKAGE).glob("*/**/__init__.py"))
    folders = [".".join(path.parent.relative_to(ROOT / PACKAGE).parts) for path in inits]
    place = {name: n for n, name in enumerate(FOLDERS)}
    public = [name for name in folders if public_names(name)]
    return sorted(public, key=lambda name: (place.get(name.split(".")[0], len(place)), name))


def public_names(package):
    """Return {public name: module that defines it} of a folder of the package, without import."""
    folder = (ROOT / PACKAGE).joinpath(*package.split("."))
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    homes, names = {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            homes |= {alias.asname or alias.name: node.module for alias in node.names}
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            names = ast.literal_eval(node.value)
    return {name: homes.get(name, f"{PACKAGE}.{package}".strip(".")) for name in names}


def page_of(module):
    """Return the folder of a module of the package, on whose page its names are."""
    folder = module.removeprefix(PACKAGE).strip(".")
    while not (ROOT / PACKAGE).joinpath(*folder.split("."), "__init__.py").exists():
        folder = folder.rpartition(".")[0]
    return folder


def names_of(package):
    """Return the page of a folder: the documentation of each name that it lists in `__all__`."""
    lines = [OF_FOLDER.format(f"{PACKAGE}.{package}")]
    for name, module in public_names(package).items():
        if page_of(module) == package:
            lines.append(f"::: {module}.{name}")
        else:
            lines.append(f"See [{name}]({page_of(module)}.md).")
    return "\n\n".join(lines)


def index_of_names():
    """Return the page that lists all public names with the folder of each."""
    lines = [
        "# Names of the package",
        f"`import {PACKAGE}` has the names that most users need: {links_to('')}.",
        "The others are in its folders.",
    ]
    for package in packages():
        title = f"## [{PACKAGE}.{package}]({package}.md)"
        what = FOLDERS.get(package)
        names = links_to(package)
        lines += [title, f"{what[0].upper()}{what[1:]}: {names}." if what else f"{names}."]
    return "\n\n".join(lines)


def links_to(package):
    """Return links to the public names of a folder, in one line."""
    names = public_names(package).items()
    return ", ".join(link_to(name, module) for name, module in names)


def link_to(name, module):
    """Return a link to the documentation of a name."""
    if name.startswith("__"):
        return f"`{name}`"
    module = {"FaceRecognizer": f"{PACKAGE}.recognition.face_recognizer"}.get(name, module)
    return f"[`{name}`][{module}.{name}]"


# --- the reference of commands -----------------------------------------------------------------


def help_of_commands():
    """Return the page with all flags of all commands, as the parser prints them."""
    # The parser alone, without Keras and TensorFlow.
    os.environ["KERAS_SPHEREFACE_DATA_ONLY"] = "1"
    from keras_sphereface.commands.main import main
    from keras_sphereface.commands.registry import COMMANDS

    lines = ["# Every flag of every command", "", "As `sphereface COMMAND --help-all` has it.", ""]
    for name, command in COMMANDS.items():
        lines += [f"## sphereface {name}", "", f"{command.help[0].upper()}{command.help[1:]}.", ""]
        only_one = isinstance(command.config, type)
        for one in [[name]] if only_one else [[name, second] for second in command.config]:
            if len(one) > 1:
                lines += [f"### sphereface {' '.join(one)}", ""]
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
                main([*one, "--help-all"])
            lines += ["```text", printed.getvalue().rstrip(), "```", ""]
    return "\n".join(lines)


# --- diagrams ----------------------------------------------------------------------------------


def diagram(source):
    """Return the HTML of a flowchart of Mermaid: its nodes in rows, from source to sink.

    Mermaid itself would be fetched from elsewhere, at three megabytes a page.
    """
    direction, *lines = source.strip().splitlines()
    labels, edges = {}, []
    for line in lines:
        for name, label in re.findall(r'(\w+)\["(.*?)"\]', line):
            labels[name] = label
        groups = [part.split("&") for part in re.sub(r'\[".*?"\]', "", line).split("-->")]
        groups = [[name.strip() for name in group] for group in groups]
        edges += [(a, b) for x, y in itertools.pairwise(groups) for a in x for b in y]
    rank = dict.fromkeys(labels, 0)
    for _ in labels:  # a node comes after all that lead to it
        for a, b in edges:
            rank[b] = max(rank[b], rank[a] + 1)
    rows = [[name for name in labels if rank[name] == n] for n in sorted(set(rank.values()))]
    cells = [
        "".join(f'<span class="flow-node">{labels[name]}</span>' for name in row) for row in rows
    ]
    arrow = '<span class="flow-arrow" aria-hidden="true"></span>'
    name = "flow-down" if "TD" in direction else "flow-right"
    body = arrow.join(f'<span class="flow-row">{cell}</span>' for cell in cells)
    return (
        f'<div class="flow {name}" role="img" aria-label="{html.escape(alt_of(rows))}">{body}</div>'
    )


def alt_of(rows):
    """Return the rows of a diagram as a line of text."""
    return " -> ".join(", ".join(row) for row in rows)
