# %% [markdown]
# # Search for a NasN cell
#
# Differentiable architecture search on drawn anatomy, at toy size: weights learn from one half of the subjects, the
# strengths of the candidate operations from the other. A real search takes some fifty epochs (docs/search.md).

# %%
from pathlib import Path

import matplotlib.pyplot as plt

from csmri_ext.commands.cli import main
from csmri_ext.models import NasN, read_genotype

folder = Path("example_output")
command = (
    f"search --volumes 4 --cache {folder}/phantoms --size 32 --steps-per-epoch 8 --epochs 3 --nodes 2 "
    f"--cells 1 --channels 8 --optimizer adam --learning-rate 0.002 --out {folder}/search"
)
assert main(command.split()) == 0

# %% [markdown]
# The cell is a file. `csmri train --genotype` trains a NasN with it; here it is only built and counted.

# %%
genotype = read_genotype(folder / "search" / "genotype.json")
network = NasN(genotype)
print(f"{sum(p.numel() for p in network.parameters())} parameters")
print(genotype)

# %%
picture = plt.imread(next((folder / "search").glob("*.png")))
figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
axis.imshow(picture)
axis.set_axis_off()
figure.savefig(folder / "search_a_cell.png", dpi=120)
