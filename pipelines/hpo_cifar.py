"""Tune a CIFAR-10 classifier on a tenth of the data; the logic is ``raysubset hpo``, options are the same.

python pipelines/hpo_cifar.py                      # data where they are found, else the embedded MNIST sample
python pipelines/hpo_cifar.py --data-dir DIR       # DIR/cifar10/train.parquet, test.parquet
python pipelines/hpo_cifar.py --compare-full       # the same search on all data beside it

On a cluster, as a job (clusters/README.md); runs go to its $RAYSUBSET_ROOT:
ray job submit --working-dir pipelines -- python hpo_cifar.py --name first
"""

import sys

from raysubset.cli import main

if __name__ == "__main__":
    main(["hpo", *sys.argv[1:]])
