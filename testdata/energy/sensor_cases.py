#!/usr/bin/env python3
"""Writes the cases of sensors in this folder: hwmon boards and superchips, batteries, Jetson rails.

    python3 testdata/energy/sensor_cases.py      # no packages needed; run it again and nothing changes

Every case states the power or the count of each file as a function of time, what the simulated hardware truly used, and what an honest
reader may claim: between two good readings of a power the trapezoid, between two counts their difference, and nothing across a
gap. Gaps, errors and statuses are stated by hand. Nothing of the product is used.
"""
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
GPU, XE, PKG = "class/hwmon/hwmon0/power1_average", "class/hwmon/hwmon2/energy1_input", "class/hwmon/hwmon2/energy2_input"
APU, IGPU = "class/hwmon/hwmon1/power1_input", "class/hwmon/hwmon3/energy1_input"
Z = {GPU: "hwmon/amdgpu-0000:03:00.0/power1_average", XE: "hwmon/xe-0000:08:00.0/energy1_input", PKG: "hwmon/xe-0000:08:00.0/energy2_input",
     APU: "hwmon/amdgpu-0000:05:00.0/power1_input", IGPU: "hwmon/i915-0000:00:02.0/energy1_input"}


def trapezoid(watts, spans):
    """Joules of a power over spans of whole steps [(from, to, step)], from its values at the steps."""
    return sum((watts(t) + watts(t + step)) / 2 * step for a, b, step in spans for t in range(a, b, step))


def case(name, source, tree, end, step, files, domains, total, explain, wrong=(), windows=()):
    folder = os.path.join(HERE, "cases", name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "samples.csv"), "w") as out:
        out.write("t_s,file,value\n")
        for t in range(0, end + 1, step):
            for file in files:
                out.write(f"{t},{file},{files[file](t)}\n")
    counted = [d["zone"] for d in domains if d.pop("counted")]
    want = {"case": name, "source": source, "tree": tree, "window_s": [0, end], "tolerance_j": 0.002, "domains": domains,
            "total": {"counted_zones": counted, "true_j": round(sum(d["true_j"] for d in domains if d["zone"] in counted), 6),
                      "measured_j": round(sum(d["measured_j"] for d in domains if d["zone"] in counted), 6), "status": total},
            "windows": [dict(zip(("from_s", "to_s", "true_j", "measured_j", "status"), w)) for w in windows],
            "wrong_answers_to_reject": [{"j": j, "why": why} for j, why in wrong], "explain": explain}
    with open(os.path.join(folder, "expected.json"), "w") as out:
        json.dump(want, out, indent=1)


def domain(zone, name, true, measured, counted=True, status="ok", errors=(), gaps=()):
    return {"zone": zone, "name": name, "true_j": round(true, 6), "measured_j": round(measured, 6), "status": status, "errors": list(errors),
            "gaps": [{"from_s": a, "to_s": b, "reason": r} for a, b, r in gaps], "counted": counted}


def const(v):
    return lambda t: v


def boards():
    ramp = lambda t: 120 + 10 * t
    case("hwmon_boards", "hwmon", "hwmon_gpus", 10, 1,
         {GPU: lambda t: ramp(t) * 10**6, APU: const(12 * 10**6), XE: lambda t: 5 * 10**6 + 50 * 10**6 * t, PKG: lambda t: 3 * 10**6 + 30 * 10**6 * t, IGPU: lambda t: 7 * 10**6 + 7 * 10**6 * t},
         [domain(Z[GPU], "amdgpu PPT", 1700, trapezoid(ramp, [(0, 10, 1)])), domain(Z[APU], "amdgpu PPT", 120, 120, False), domain(Z[XE], "xe card", 500, 500),
          domain(Z[PKG], "xe pkg", 300, 300, False), domain(Z[IGPU], "i915", 70, 70, False)], "complete",
         "A discrete AMD board ramps from 120 to 220 W and a discrete Intel card draws 50 W: 2,200 J. The APU and the integrated GPU lie inside the CPU's package, the card's package inside the card: shown, not added.",
         [(2690, "every sensor added up")], [(2, 4, 400, 400, "complete")])
    lost = lambda t: 120 * 10**6 if t < 6 else "ENODEV"
    case("hwmon_lost_board", "hwmon", "hwmon_gpus", 10, 1, {GPU: lost, XE: lambda t: 5 * 10**6 + 50 * 10**6 * t},
         [domain(Z[GPU], "amdgpu PPT", 1200, 600, status="partial", errors=["ENODEV"], gaps=[(5, 10, "unreadable")]), domain(Z[XE], "xe card", 500, 500)], "partial",
         "The AMD board falls off the bus after 5 s: 600 J are known, and nothing is said of the rest.", [(1700, "the last power held on"), (500, "a lost board forgotten with what it used")])
    unit = lambda t: 120 * 10**9 if 4 <= t <= 6 else 120 * 10**6
    nano = lambda t: (5 * 10**6 + 50 * 10**6 * t) * (1000 if 4 <= t <= 6 else 1)
    case("hwmon_wrong_unit", "hwmon", "hwmon_gpus", 10, 1, {GPU: unit, XE: nano},
         [domain(Z[GPU], "amdgpu PPT", 1200, 720, status="partial", errors=["garbage"], gaps=[(3, 7, "unreadable")]),
          domain(Z[XE], "xe card", 500, 300, status="partial", gaps=[(3, 4, "implausible"), (4, 5, "implausible"), (5, 6, "implausible"), (6, 7, "reset")])], "partial",
         "From 4 to 6 s both drivers answer in thousandths of their unit: 120 kW and kilojoules a second are no board's, and nothing is claimed of that time.",
         [(720 + 3 * 120000 + 300, "120 kW believed")])
    case("hwmon_reset", "hwmon", "hwmon_gpus", 10, 1, {XE: lambda t: 5 * 10**6 + 50 * 10**6 * t if t <= 5 else 20 * 10**6 + 50 * 10**6 * (t - 6), GPU: const(120 * 10**6)},
         [domain(Z[XE], "xe card", 500, 450, status="partial", gaps=[(5, 6, "reset")]), domain(Z[GPU], "amdgpu PPT", 1200, 1200)], "partial",
         "The Intel driver is loaded anew between 5 and 6 s and counts from 0: a gap, and no wrap of 64 bits.", [(18446744073709.55 + 500, "the fall unwrapped at 64 bits")])
    case("hwmon_stale", "hwmon", "hwmon_gpus", 10, 1, {XE: lambda t: 5 * 10**6 + 50 * 10**6 * min(t, 4), GPU: const(120 * 10**6)},
         [domain(Z[XE], "xe card", 500, 200, status="partial", gaps=[(4, 10, "stuck")]), domain(Z[GPU], "amdgpu PPT", 1200, 1200)], "partial",
         "The card's counter freezes at 4 s: a discrete board always draws power, so this is not 0 W. A power that repeats may be a steady one and is integrated.", [(1400, "a stuck counter read as zero power, and called complete")])
    case("hwmon_garbage", "hwmon", "hwmon_gpus", 10, 1, {GPU: lambda t: 4294967295000 if t == 5 else 120 * 10**6, XE: lambda t: 5 * 10**6 + 50 * 10**6 * t},
         [domain(Z[GPU], "amdgpu PPT", 1200, 1200, errors=["garbage"]), domain(Z[XE], "xe card", 500, 500)], "complete",
         "One reading of unsigned 32-bit all ones times 1000 among good ones 2 s apart: it is dropped and told, and the power around it is integrated.", [(4296167.3, "4.3 MW believed for a second")])
    acpi = lambda n: f"devices/LNXSYSTM:00/ACPI000D:{n:02d}/power1_average"
    zone = lambda n: f"hwmon/power_meter-ACPI000D:{n:02d}/power1_average"
    watts = {0: 180, 1: 62, 2: 41, 3: 5, 4: 58}
    names = {0: "Module Power Socket 0", 1: "Grace Power Socket 0", 2: "CPU Power Socket 0", 3: "SysIO Power Socket 0", 4: "Grace Power Socket 1"}
    case("hwmon_grace", "hwmon", "hwmon_grace", 10, 1, {acpi(n): const(w * 10**6) for n, w in watts.items()},
         [domain(zone(n), "power_meter " + names[n], w * 10, w * 10, n in (1, 4)) for n, w in watts.items()], "complete",
         "Two Grace sockets of 62 and 58 W: 1,200 J. The module holds a socket and its GPU, the CPU and I/O rails lie inside the socket.", [(3460, "all five meters added up"), (3000, "the module added to its sockets")])


def batteries():
    bat = "class/power_supply/"
    power, amps = bat + "BAT0/power_now", bat + "BAT1/current_now"
    watts = const(21.54)
    one = lambda true, measured, **k: [domain("battery", "battery", true, measured, **k)]
    case("battery_discharging", "battery", "battery", 60, 10, {power: const(12340000), amps: const(800000)}, one(1292.4, trapezoid(watts, [(0, 60, 10)])), "complete",
         "Two packs, 12.34 W and 0.8 A x 11.5 V, for a minute.", [(740.4, "the pack that tells only its current left out")])
    case("battery_plugged", "battery", "battery", 60, 10, {power: const(12340000), bat + "BAT0/status": lambda t: "Charging" if t in (20, 30) else "Discharging"},
         one(1292.4, trapezoid(watts, [(0, 10, 10), (40, 60, 10)]), status="partial", errors=["not every battery is discharging"], gaps=[(10, 40, "unreadable")]), "partial",
         "The charger is in from some time after 10 s to some time before 40 s: what the machine drew meanwhile came from the wall, and no battery knows it.",
         [(1292.4, "the power from before and after drawn across")])
    case("battery_wrong_unit", "battery", "battery", 80, 10, {power: lambda t: 12340 if t in (20, 30, 40) else 12340000},
         one(1723.2, trapezoid(watts, [(0, 10, 10), (50, 80, 10)]), status="partial", errors=["garbage"], gaps=[(10, 50, "unreadable")]), "partial",
         "From 20 to 40 s one pack's driver answers in mW where its unit is uW: a discharging pack does not give 12 mW.", [(1353.2, "12 mW believed at the three readings")])
    case("battery_removed", "battery", "battery", 60, 10, {amps: lambda t: 800000 if t < 30 else "ENODEV", power: const(12340000)},
         one(1292.4, trapezoid(watts, [(0, 20, 10)]), status="partial", errors=["ENODEV"], gaps=[(20, 60, "unreadable")]), "partial",
         "The second pack is pulled out after 20 s: what one pack gives is not what the machine draws.", [(924.4, "the remaining pack taken for the machine")])


def jetsons():
    nx, agx = "class/hwmon/hwmon0/", "class/hwmon/hwmon2/"
    vin = "jetson/ina3221-1-0040/VDD_IN"
    ramp = lambda t: (5040 * (1500 + 100 * t)) / 10**6
    case("jetson_rails", "jetson", "jetson_orin_nx", 10, 1, {nx + "curr1_input": lambda t: 1500 + 100 * t, nx + "curr2_input": const(600)},
         [domain(vin, "VDD_IN", 100.8, trapezoid(ramp, [(0, 10, 1)])), domain("jetson/ina3221-1-0040/VDD_CPU_GPU_CV", "VDD_CPU_GPU_CV", 30, 30, False),
          domain("jetson/ina3221-1-0040/VDD_SOC", "VDD_SOC", 0, 0, False)], "complete",
         "VDD_IN contains the other rails; its current rises from 1.5 to 2.5 A at 5.04 V. A current of -4 mA is the monitor's offset, and no energy given back.", [(130.8, "rails added to the one that contains them")])
    case("jetson_siblings", "jetson", "jetson_agx_orin", 10, 1, {agx + "curr1_input": const(300), agx + "curr2_input": const(200), agx + "curr3_input": const(1000)},
         [domain("jetson/ina3221-1-0040/" + n, n, w * 10, w * 10) for n, w in (("VDD_GPU_SOC", 6), ("VDD_CPU_CV", 4), ("VIN_SYS_5V0", 5))] +
         [domain("jetson/ina3221-1-0041/VDDQ_VDD2_1V8AO", "VDDQ_VDD2_1V8AO", 20, 20, False)], "complete",
         "AGX Orin has no total: its three input rails of 6, 4 and 5 W stand side by side, the memory's is fed from one of them.", [(170, "the memory's rail added")])
    case("jetson_wrong_unit", "jetson", "jetson_orin_nx", 10, 1, {nx + "curr1_input": lambda t: 1500000 if 4 <= t <= 6 else 1500},
         [domain(vin, "VDD_IN", 75.6, 45.36, status="partial", errors=["garbage"], gaps=[(3, 7, "unreadable")])], "partial",
         "From 4 to 6 s the current comes in uA: 7.6 kW are no Jetson's.", [(22710.2, "7.6 kW believed")])
    case("jetson_denied", "jetson", "jetson_orin_nx", 10, 1, {nx + "curr1_input": const("EACCES"), nx + "curr2_input": const(600)},
         [domain(vin, "VDD_IN", 75.6, 0, status="unreadable", errors=["EACCES"], gaps=[(0, 10, "unreadable")]),
          domain("jetson/ina3221-1-0040/VDD_CPU_GPU_CV", "VDD_CPU_GPU_CV", 30, 30, False)], "partial",
         "The rail that contains all others may not be read; a part of it does not stand in for it.", [(30, "a part taken for the module")])
    mw = "bus/i2c/drivers/ina3221x/7-0040/iio:device0/in_power0_input"
    case("jetson_lost", "jetson", "jetson_xavier_iio", 10, 1, {mw: lambda t: "EIO" if 5 <= t <= 7 else 4200},
         [domain("jetson/7-0040/VDD_IN", "VDD_IN", 42, trapezoid(const(4.2), [(0, 4, 1), (8, 10, 1)]), status="partial", errors=["EIO"], gaps=[(4, 8, "unreadable")])], "partial",
         "The monitor does not answer from 5 to 7 s and is back at 8 s (iio driver of JetPack 4, in mW).", [(42, "the power from before and after drawn across")])
    case("jetson_transient", "jetson", "jetson_xavier_iio", 10, 1, {mw: lambda t: "EIO" if t == 5 else 4200},
         [domain("jetson/7-0040/VDD_IN", "VDD_IN", 42, 42, errors=["EIO"])], "complete",
         "One failed read between two good ones that lie 2 s apart, which is as far as a power is integrated: nothing is lost, the error is told.", [(33.6, "two intervals lost")])


boards()
batteries()
jetsons()
