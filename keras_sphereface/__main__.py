"""`python -m keras_sphereface`: the command `sphereface`."""

import sys

from keras_sphereface.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
