"""The Slurm script, run without Slurm: what it starts, and when it asks to be put back into the queue."""

import os
import subprocess
import time

import pytest

SRUN = 'exec "$@"'
SCONTROL = 'if [ "$1" = show ]; then printf "node1\\nnode2\\n"; else echo "$*" >> "$HERE/requeued"; fi'
TORCHRUN = 'printf "%s\\n" "$@" > "$HERE/started"; exit "$STATUS"'


def test_its_syntax(root):
    assert subprocess.run(["bash", "-n", root / "tools" / "pretrain.sbatch"], capture_output=True).stderr == b""


@pytest.mark.parametrize(("status", "left_s", "requeued"), [(0, 60, False), (143, 60, True), (143, 5000, False), (1, None, False)])
def test_it_starts_torchrun_on_every_node_and_goes_on_when_the_time_was_up(tmp_path, root, status, left_s, requeued):
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("torchrun", TORCHRUN)):
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    end = {} if left_s is None else {"SLURM_JOB_END_TIME": str(int(time.time()) + left_s)}
    slurm = {"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NNODES": "2", "SLURM_JOB_ID": "7", **end}
    done = subprocess.run(["bash", root / "tools" / "pretrain.sbatch", "paper", "--data", "my videos", "--out", "out"],
                          env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "HERE": str(tmp_path), "STATUS": str(status), **slurm})
    assert done.returncode == status
    started = (tmp_path / "started").read_text().splitlines()
    assert started[started.index("-m"):] == ["-m", "lamplan.cli", "pretrain", "paper", "--data", "my videos", "--out", "out"]
    given = dict(zip(started[::2], started[1::2], strict=False))
    assert (given["--nnodes"], given["--nproc-per-node"], given["--rdzv-endpoint"]) == ("2", "8", "node1:29500")
    assert (tmp_path / "requeued").exists() == requeued
