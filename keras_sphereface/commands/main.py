"""The command `sphereface`: which subcommand, with which settings, and how it ends."""

import os
import sys
from collections.abc import Sequence

from keras_sphereface.commands.errors import ending
from keras_sphereface.commands.registry import COMMANDS, PROGRAM, SYNONYMS, settings_of
from keras_sphereface.config.general_flags import GENERAL_FLAGS
from keras_sphereface.config.parsing import usage_error
from keras_sphereface.config.suggestions import did_you_mean, with_hint
from keras_sphereface.utils import startup
from keras_sphereface.utils.progress import python_warnings_logged
from keras_sphereface.version import __version__

USAGE_ERROR = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line of `sphereface`.

    Args:
        argv: The words after the name of the program; those of the process if None.

    Returns:
        The exit status: that of the subcommand, 0 after success; 2 without a subcommand.

    Raises:
        SystemExit: With status 1 for an error, and 2 for a wrong command line.

    Example:
        >>> main(["--version"])
        sphereface 0.2.0
        0
    """
    words, verbose, debug = _general_flags(list(sys.argv[1:] if argv is None else argv))
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0 if words else USAGE_ERROR
    if words[0] == "--version":
        print(f"{PROGRAM} {__version__}")
        return 0
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        meant = did_you_mean(SYNONYMS.get(name, name), COMMANDS)
        hint = f"{meant} `{PROGRAM} --help` lists all commands."
        usage_error(with_hint(f"no command is called {name!r}", hint.lstrip()))
    with ending(debug):
        config = settings_of(name, rest)
        if COMMANDS[name].needs_tensorflow:
            startup.check_backend()
        COMMANDS[name].examine(config)
        if not verbose:
            os.environ[startup.QUIET] = "1"
        if COMMANDS[name].trains:
            startup.use_onednn()
        if COMMANDS[name].needs_tensorflow:
            startup.import_whole_package()
        with python_warnings_logged():
            return COMMANDS[name].run(config) or 0


def overview() -> str:
    """Return the help of the whole program: a line a subcommand."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items()]
    flags = [f"  {flag:<{width}}  {text}" for flag, text in GENERAL_FLAGS.items()]
    return "\n".join(
        [
            f"usage: {PROGRAM} COMMAND [--flag VALUE ...]",
            "",
            "SphereFace (A-Softmax) for Keras: from a folder of faces to an evaluated network.",
            "",
            "commands:",
            *lines,
            "",
            "for every command:",
            *flags,
            "",
            f"Begin with `{PROGRAM} demo`.",
        ]
    )


def _general_flags(words: list[str]) -> tuple[list[str], bool, bool]:
    """The other words, and whether --verbose and --debug are among those before a lone `--`."""
    end = words.index("--") if "--" in words else len(words)
    flags = {"--verbose", "--debug"} & set(words[:end])
    kept = [word for word in words[:end] if word not in flags] + words[end:]
    return kept, "--verbose" in flags, "--debug" in flags
