"""Memory that a process keeps: measured in page faults, which no clock and no other program disturbs."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import torch
from lamplan.allocator import keep_freed_memory
from lamplan.models.world_model import WorldModel, WorldModelConfig
torch.set_num_threads(1)
torch.set_grad_enabled(False)
if sys.argv[1] == "kept" and not keep_freed_memory():
    print("impossible")
    raise SystemExit
model = WorldModel(WorldModelConfig(width=128, depth=2), feature_dim=192, side=8, action_dim=32)
s, z = torch.randn(64, 64, 192), torch.randn(64, 3, 32)
for _ in range(3):
    model.imagine(s, z)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    model.imagine(s, z)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> str:
    return subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator alone is told")
def test_imagining_on_a_cpu_does_not_ask_the_system_for_the_same_memory_again():
    kept = faults("kept")
    if kept == "impossible":
        pytest.skip("no glibc here")
    returned = int(faults("returned"))
    if returned < 3 * 1000:
        pytest.skip(f"this system keeps these blocks by itself, or hands them out in huge pages: {returned} page faults")
    assert int(kept) < returned / 5
