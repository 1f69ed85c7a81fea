"""Search a DARTS cell on a tenth of the data, retrain it on all; ``raysubset nas --space darts``, same options.

python pipelines/nas_darts.py --data-dir DIR                  # minutes on two cores
python pipelines/nas_darts.py --preset paper --data-dir DIR   # 8 cells, 50 epochs; retrained 20 cells, 600 epochs
"""

import sys

from raysubset.cli import main

if __name__ == "__main__":
    main(["nas", "--space", "darts", "--ratio", "0.1", *sys.argv[1:]])
