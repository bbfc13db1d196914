"""The flags that every command takes beside its settings."""

# {flag: help}; `sphereface` itself takes --verbose and --debug from the command line.
GENERAL_FLAGS = {
    "--config FILE": "Settings from a YAML, TOML or JSON file; flags win.",
    "--print-config": "Print the settings as YAML, for --config, and end.",
    "--verbose": "Also show what TensorFlow prints at its start.",
    "--debug": "Show the traceback of an error.",
    "-h, --help": "Show the most used flags and end.",
    "--help-all": "Show all flags and end.",
}
