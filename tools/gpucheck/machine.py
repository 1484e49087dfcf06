"""The machine: what it is, what it can do at most, and how time and memory are read on it."""

import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

GB = 1e9
WARM_UPS, REPEATS = 3, 5


@dataclass(frozen=True)
class Machine:
    """Hold what is measured on, and the rates that a roofline is reckoned with."""

    kind: str
    "cuda, or cpu where the check runs at tiny shapes."
    name: str
    memory: int
    "Bytes of the card."
    driver: str
    versions: dict[str, str]
    "Of CUDA, torch, transformers and peft."
    bandwidth: float
    "Bytes a second, read and written, of a copy on the device."
    peak: float
    "bf16 operations a second of a square matrix product."
    exact: float
    "The same in float32."

    @property
    def on_gpu(self) -> bool:
        return self.kind == "cuda"

    @property
    def device(self) -> torch.device:
        return torch.device(self.kind)

    @property
    def heading(self) -> str:
        what = f"{self.name}, {self.memory / GB:.0f} GB, driver {self.driver}"
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        rates = f"copy {self.bandwidth / GB:,.0f} GB/s, bf16 matmul {self.peak / 1e12:,.1f} TFLOP/s"
        rates += f", float32 {self.exact / 1e12:,.1f}"
        return f"{what}, {versions}, {rates}"

    @property
    def facts(self) -> dict[str, Any]:
        return asdict(self)

    def roofline(self, flops: float, moved: float, exact: float = 0.0) -> float:
        """
        Compute the least seconds for so many operations and bytes.

        flops, exact : operations in bfloat16, and in float32
        """
        return max(flops / self.peak + exact / self.exact, moved / self.bandwidth)


def this_machine(cpu: bool) -> Machine:
    """Describe this machine and measure its rates; on the CPU with small tensors."""
    import peft
    import transformers

    kind = "cpu" if cpu else "cuda"
    side, size = (256, 2**24) if cpu else (8192, 2**31)
    on_gpu = {} if cpu else {"name": torch.cuda.get_device_name(), "driver": _driver()}
    return Machine(
        kind=kind,
        name=on_gpu.get("name", f"CPU {platform.machine()}"),
        memory=_host_memory() if cpu else torch.cuda.get_device_properties(0).total_memory,
        driver=on_gpu.get("driver", "none"),
        versions={
            "CUDA": torch.version.cuda or "none",
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
            "peft": peft.__version__,
        },
        bandwidth=_bandwidth(torch.device(kind), size),
        peak=_peak(torch.device(kind), side, torch.bfloat16),
        exact=_peak(torch.device(kind), side, torch.float32),
    )


def _driver() -> str:
    if shutil.which("nvidia-smi") is None:
        return "unknown"
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    return answer[0] if answer else "unknown"


def _host_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _bandwidth(device: torch.device, size: int) -> float:
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / median_seconds(lambda: target.copy_(source), device)


def _peak(device: torch.device, side: int, dtype: torch.dtype) -> float:
    a = torch.randn(side, side, device=device).to(dtype)
    return 2 * side**3 / median_seconds(lambda: a @ a, device)


# Time -------------------------------------------------------------------------------------------


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Time one call: between CUDA events where there is a GPU, else on the wall clock."""
    if device.type != "cuda":
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    before.record()
    work()
    after.record()
    torch.cuda.synchronize()
    return before.elapsed_time(after) / 1000


def median_seconds(work: Callable[[], Any], device: torch.device) -> float:
    for _ in range(WARM_UPS):
        work()
    return statistics.median(seconds(work, device) for _ in range(REPEATS))


def by_turns(
    works: dict[str, Callable[[], Any]], device: torch.device, budget: float
) -> dict[str, float]:
    """
    Time several ways by turns: three warm-ups, the median of five.

    budget : seconds for all of it. A way that takes long has fewer warm-ups and repetitions, but
             one that is counted at least
    """
    start = time.monotonic()
    found: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(WARM_UPS + REPEATS):
        for name, work in works.items():
            found[name].append(seconds(work, device))
        spent = time.monotonic() - start
        if spent + spent / (turn + 1) > budget:
            break
    counted = {name: some[min(WARM_UPS, len(some) - 1) :] for name, some in found.items()}
    return {name: statistics.median(some) for name, some in counted.items()}


def busy_share(work: Callable[[], Any], device: torch.device) -> float:
    """Profile one call: the share of its time in which a kernel runs; not-a-number on a CPU."""
    if device.type != "cuda":
        return float("nan")
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        took = time.perf_counter() - start
    events = found.events() or ()
    kernels = [one.time_range for one in events if one.device_type.name == "CUDA"]
    return _covered([(one.start, one.end) for one in kernels]) / 1e6 / took


def _covered(spans: list[tuple[float, float]]) -> float:
    """Sum the length of what is covered by [start, end) spans, overlaps once."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


# Memory -----------------------------------------------------------------------------------------


def forget_peak(device: torch.device) -> None:
    """Free what the allocator keeps, and count peaks and retries from here."""
    import gc

    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.reset_accumulated_memory_stats()


def memory(device: torch.device) -> dict[str, float]:
    """Read peak allocated and reserved bytes and the allocator's retries; nothing on a CPU."""
    if device.type != "cuda":
        return {}
    found = torch.cuda.memory_stats()
    return {
        "peak allocated": found["allocated_bytes.all.peak"] / GB,
        "peak reserved": found["reserved_bytes.all.peak"] / GB,
        "allocator retries": found["num_alloc_retries"],
    }
