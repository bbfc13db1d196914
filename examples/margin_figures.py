"""Draw the geometry of the loss, and work out how large m must be.

    python examples/margin_figures.py --out MARGINS

Nothing is trained. `--help` lists the flags.
"""

from keras_sphereface.commands.margins import main

if __name__ == "__main__":
    main()
