"""Find identities with exported networks; `identify.py open-set --help` lists the flags.

python tools/identify.py closed-set --model EXPORT --images DIR --out DIR
python tools/identify.py open-set --model EXPORT --images DIR --out DIR
python tools/identify.py distractors --model EXPORT --images DIR --distractors DIR --out DIR
"""

from keras_sphereface.commands.identify import run_identify
from keras_sphereface.config.identify import IDENTIFY_CONFIGS
from keras_sphereface.config.parsing import parse_command

if __name__ == "__main__":
    _, config = parse_command(IDENTIFY_CONFIGS)
    run_identify(config)
