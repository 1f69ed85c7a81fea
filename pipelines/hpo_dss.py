"""Tune on subsets by CRAIG, GLISTER, GRAD-MATCH and at random, and on all data; same as ``raysubset hpo-dss``.

python pipelines/hpo_dss.py                        # embedded digits, LeNet, 3 seeds: minutes on two cores
python pipelines/hpo_dss.py --data mnist --data-dir DIR
python pipelines/hpo_dss.py --preset paper --data cifar10 --data-dir DIR    # ResNet-18, for a GPU
"""

import sys

from raysubset.cli import main

if __name__ == "__main__":
    main(["hpo-dss", *sys.argv[1:]])
