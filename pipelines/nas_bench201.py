"""Search a NAS-Bench-201 cell on half of the data; the logic is ``raysubset nas --space nb201``, same options.

python pipelines/nas_bench201.py --data-dir DIR              # CIFAR-10; DIR/nasbench201 holds the table, if any
python pipelines/nas_bench201.py --ratio 0.1 --metric loss
python pipelines/nas_bench201.py --preset paper --data-dir DIR     # C = 16, N = 5, 250 epochs: for a GPU
"""

import sys

from raysubset.cli import main

if __name__ == "__main__":
    main(["nas", "--space", "nb201", *sys.argv[1:]])
