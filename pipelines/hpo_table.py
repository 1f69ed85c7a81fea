"""ASP's tables 3 and 4: four searches by ratio, Hyper-Tune by metric; ``raysubset hpo-table``, same options.

python pipelines/hpo_table.py --id T3              # embedded digits, LeNet, 3 seeds: under an hour on two cores
python pipelines/hpo_table.py --id T4 --only "*-s0"                        # one seed of it
python pipelines/hpo_table.py --id T4 --preset paper --data-dir DIR        # ResNet-18, CIFAR-10 and 100, for GPUs
"""

import sys

from raysubset.cli import main

if __name__ == "__main__":
    main(["hpo-table", *sys.argv[1:]])
