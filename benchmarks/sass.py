"""The machine code of CUDA kernels, read without a card.

Needs CUDA's nvcc and nvdisasm (on the PATH, under /usr/local, or PyPI's nvidia-cuda-nvdisasm).
"""

from __future__ import annotations

import heapq
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
THREADS, REGISTERS = 2048, 65536
"""Of a multiprocessor."""


@dataclass(frozen=True)
class Kernel:
    """Instructions in their order, without addresses: ``@!P0 LDG.E.128 R4, …``."""

    name: str
    instructions: tuple[str, ...]
    labels: dict[str, int]
    registers: int

    def opcode(self, at: int) -> str:
        words = self.instructions[at].split()
        return words[1] if words[0].startswith("@") else words[0]

    @cached_property
    def following(self) -> list[list[int]]:
        """Where each instruction may go on. A called subroutine comes back."""
        result = []
        for at, text in enumerate(self.instructions):
            opcode, certain = self.opcode(at), not text.startswith("@")
            target = re.search(r"`\((\.L_x_\d+)\)", text) if opcode.startswith("BRA") else None
            on = [self.labels[target[1]]] if target else []
            ends = opcode.startswith(("EXIT", "RET", "BRA")) and certain
            # A branch may have its condition behind: BRA P1, …
            if target and not re.fullmatch(r"BRA(\.\w+)* `\(\S+\)", text):
                ends = False
            result.append(on if ends else [*on, at + 1])
        return result

    def loops(self) -> list[range]:
        back = (
            (target, at)
            for at, following in enumerate(self.following)
            for target in following
            if target <= at
        )
        return [range(first, last + 1) for first, last in back if first < last]

    def shortest(
        self, passing: dict[str, int], first: int = 0, last: int | None = None
    ) -> int | None:
        """Instructions of the shortest way that executes each opcode of ``passing`` (its beginning)
        at least that often: from ``first`` to ``last``, or to the end. None if there is no way."""
        kinds = list(passing)
        goal = tuple(passing.values())
        queue, seen = [(0, first, (0,) * len(kinds))], set()
        while queue:
            length, at, counts = heapq.heappop(queue)
            if (at, counts) in seen or at >= len(self.instructions):
                continue
            seen.add((at, counts))
            opcode = self.opcode(at)
            counts = tuple(
                min(count + opcode.startswith(kind), most)
                for kind, count, most in zip(kinds, counts, goal, strict=True)
            )
            ended = opcode == "EXIT" if last is None else at == last
            if ended and counts == goal:
                return length + 1
            for following in self.following[at]:
                heapq.heappush(queue, (length + 1, following, counts))
        return None

    def threads(self, block: int = 256) -> int:
        """That a multiprocessor holds at once, by the registers."""
        each = -(-self.registers // 8) * 8 * block
        return min(REGISTERS // each * block, THREADS)


def tool(name: str) -> str:
    """A program of CUDA's: on the PATH, in its usual place or from PyPI."""
    places = [Path("/usr/local/cuda/bin"), *sorted(Path("/usr/local").glob("cuda-*/bin"))]
    packages = Path(sysconfig.get_path("purelib"))
    places += [*packages.glob("nvidia/cu*/bin"), packages / "triton/backends/nvidia/bin"]
    found = shutil.which(name) or shutil.which(name, path=":".join(map(str, places)))
    if found is None:
        raise FileNotFoundError(f"{name} is not on the PATH, under /usr/local or in site-packages")
    return found


def kernels(source: Path, card: str = "sm_90") -> Iterator[Kernel]:
    """Those of a .cu file, compiled for a card."""
    with tempfile.TemporaryDirectory() as directory:
        binary = f"{directory}/kernels.cubin"
        command = [tool("nvcc"), "-O3", "-std=c++20", "--expt-relaxed-constexpr", "-Xptxas", "-v"]
        command += [f"-arch={card}", f"-I{ROOT / 'csrc'}", "-cubin", str(source), "-o", binary]
        compiled = subprocess.run(command, capture_output=True, text=True, check=True)
        listed = subprocess.run(
            [tool("nvdisasm"), "-c", binary], capture_output=True, text=True, check=True
        )
    used = re.findall(
        r"Compiling entry function '(\w+)'.*?Used (\d+) registers", compiled.stderr, re.S
    )
    registers = {name: int(count) for name, count in used}
    sections = re.split(r"\n\s*\.section\s+\.text\.", listed.stdout)[1:]
    mangled = [section.split(",")[0].strip() for section in sections]
    plain = subprocess.run(
        ["c++filt"], input="\n".join(mangled), capture_output=True, text=True, check=True
    )
    for section, raw, name in zip(sections, mangled, plain.stdout.splitlines(), strict=True):
        instructions: list[str] = []
        labels: dict[str, int] = {}
        for line in section.splitlines():
            if label := re.match(r"\s*(\.L_x_\d+):", line):
                labels[label[1]] = len(instructions)
            elif instruction := re.match(r"\s*/\*[0-9a-f]+\*/\s+(.*?);", line):
                instructions.append(instruction[1].strip())
        yield Kernel(name, tuple(instructions), labels, registers[raw])
