"""Find people with exported networks; `identify.py open-set --help` lists the flags.

python tools/identify.py closed-set --model EXPORT --images DIR --out DIR
python tools/identify.py open-set --model EXPORT --images DIR --out DIR
python tools/identify.py distractors --model EXPORT --images DIR --distractors DIR --out DIR
"""

from keras_sphereface.commands.identify import main
from keras_sphereface.config.parsing import parse_command
from keras_sphereface.evaluation.identification.evaluate import COMMANDS

if __name__ == "__main__":
    main(*parse_command(COMMANDS))
