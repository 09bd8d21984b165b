#!/usr/bin/env python3
"""Runs CodeCarbon 3.3.2 on the RAPL cases of this folder and prints its joules beside the true ones.

    python3 -m venv venv && venv/bin/pip install codecarbon==3.3.2
    venv/bin/python testdata/energy/compare_codecarbon.py            # Markdown table; --json for numbers

How the fixtures are mounted: every tree is expanded into a temporary folder that stands for /sys, with the link
intel-rapl/subsystem that the kernel has. CodeCarbon names its folders in one function, codecarbon.core.cpu._get_candidate_bases;
it is replaced by one that returns the same four folders below the temporary root. Nothing else of the tool is changed.
Between two measurements the counters' files are rewritten with the next values of samples.csv; a read that fails with EACCES or
EIO is injected through the module's own open(), since file modes do not stop root, and a zone that is gone is removed. The
tool is driven as its tracker drives it: CPU(mode="intel_rapl").start(), then measure_power_and_energy(seconds) per step.

The product and its tests need none of this.
"""
import builtins
import csv
import errno
import json
import logging
import os
import shutil
import sys
import tempfile

import codecarbon
import codecarbon.core.cpu as ccpu
import codecarbon.core.rapl as crapl
from codecarbon.external.hardware import CPU

HERE = os.path.dirname(os.path.abspath(__file__))
DEVICES = "devices/virtual/powercap"
failing = {}  # path of an energy_uj -> errno of its reads


def fake_open(path, *args, **kwargs):
    no = failing.get(os.path.realpath(path))
    if no:
        raise OSError(no, os.strerror(no), path)
    return builtins.open(path, *args, **kwargs)


def expand(tree, root, listed):
    """Writes the manifest below root, without the zones that the case does not list."""
    for line in open(os.path.join(HERE, "trees", tree + ".tree")):
        f = line.rstrip("\n").split(" ", 3)
        if f[0] == "file":
            if ":" in os.path.dirname(f[2]) and os.path.dirname(f[2])[len(DEVICES) + 1:] not in listed:
                continue
            path = os.path.join(root, f[2])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as out:
                out.write(f[3] + "\n")
        elif f[0] == "link":
            target = f[2].split(DEVICES + "/")[1]
            if ":" in target and target not in listed:
                continue
            path = os.path.join(root, f[1])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(f[2], path)
    os.symlink("../../../../class/powercap", os.path.join(root, DEVICES, "intel-rapl/subsystem"))


def steps(case):
    out = []
    for t, zone, value in list(csv.reader(open(os.path.join(HERE, "cases", case, "samples.csv"))))[1:]:
        if not out or out[-1][0] != float(t):
            out.append((float(t), {}))
        out[-1][1][zone] = value
    return out


def apply(root, values):
    failing.clear()
    for zone, v in values.items():
        folder = os.path.join(root, DEVICES, zone)
        path = os.path.join(folder, "energy_uj")
        if v in ("ENOENT", "ENODEV"):
            if os.path.exists(path):
                os.remove(path)
        elif v in ("EACCES", "EIO"):
            failing[os.path.realpath(path)] = getattr(errno, v)
        else:
            with open(path, "w") as out:
                out.write(v + "\n")


def run(case, tree, dram):
    """Joules that CodeCarbon reports, or the error that it stops with."""
    script = steps(case)
    listed = {z for _, values in script for z in values}
    root = tempfile.mkdtemp(prefix="codecarbon-")
    try:
        expand(tree, root, listed)
        base = os.path.join(root, "class/powercap/intel-rapl")
        ccpu._get_candidate_bases = lambda _: [p for p in (os.path.join(base, "subsystem"), base, os.path.dirname(base),
                                                           os.path.join(root, DEVICES)) if os.path.exists(p)]
        ccpu.open = crapl.open = fake_open
        apply(root, script[0][1])
        if not ccpu.is_rapl_available(os.path.join(base, "subsystem")):
            return "not available: falls back to a constant"
        cpu = CPU(output_dir=root, mode="intel_rapl", model="", tdp=100, rapl_dir=os.path.join(base, "subsystem"), rapl_include_dram=dram)
        cpu.start()
        joules, last = 0.0, script[0][0]
        for t, values in script[1:]:
            apply(root, values)
            _, energy = cpu.measure_power_and_energy(t - last)
            joules, last = joules + energy.kWh * 3.6e6, t
        return joules
    except Exception as e:  # what the tool raises is its answer
        return f"{type(e).__name__}: {e}"
    finally:
        failing.clear()
        shutil.rmtree(root)


def main():
    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
    rows = []
    for case in sorted(os.listdir(os.path.join(HERE, "cases"))):
        want = json.load(open(os.path.join(HERE, "cases", case, "expected.json")))
        total = want["total"]
        if "counted_events" in total or "source" in want:
            continue  # perf events and sensors: CodeCarbon does not read them
        rows.append({"case": case, "true": total["true_j"], "claimable": total["measured_j"], "status": total["status"],
                     "codecarbon": run(case, want["tree"], False), "codecarbon_dram": run(case, want["tree"], True)})
    if "--json" in sys.argv:
        json.dump({"version": codecarbon.__version__, "rows": rows}, sys.stdout, indent=1)
        return
    show = lambda v: f"{v:,.3f}" if isinstance(v, float) else str(v)
    print(f"CodeCarbon {codecarbon.__version__}\n")
    print("| case | true J | wattshed J | CodeCarbon J | with rapl_include_dram |\n|---|--:|--:|--:|--:|")
    for r in rows:
        print(f"| {r['case']} | {show(float(r['true']))} | {show(float(r['claimable']))} {r['status']} | {show(r['codecarbon'])} | {show(r['codecarbon_dram'])} |")


if __name__ == "__main__":
    main()
