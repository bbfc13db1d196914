"""An extension of Griffe: the `Example:` of a docstring is shown as code."""

import re
import textwrap

import griffe


class Examples(griffe.Extension):
    """Name the section `Examples:`, by which Griffe knows doctests, and indent what is in it."""

    def on_instance(self, *, obj, **kwargs):
        """Rename the section in the docstring of a module, class or function."""
        del kwargs
        if obj.docstring:
            obj.docstring.value = renamed(obj.docstring.value)


def renamed(docstring):
    """Return a docstring with the section that Griffe knows."""
    before, heading, example = docstring.partition("\nExample:\n\n")
    if heading:
        return f"{before}\nExamples:\n{textwrap.indent(example, ' ' * 4)}"
    return re.sub(r"^( *)Example:$", r"\1Examples:", docstring, flags=re.M)
