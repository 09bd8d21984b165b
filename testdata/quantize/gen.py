"""Makes the fixtures of package quantize: python3 gen.py, in an environment with onnx 1.23.2, onnxruntime 1.32.0, numpy.

affine.tsv   by case: what ONNX Runtime's QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear make of a tensor, as
             CRC-32 of the little-endian bytes. The tensors come from the generator below, which the test repeats.
params.tsv   by type: CRC-32 of scales (float32) and zero points (int32) that onnxruntime.quantization chooses for 4,000 ranges.
nbits.tsv    by case: bits, group, whether symmetric, inputs k and outputs n, and CRC-32 of the codes, scales and zero points
             that MatMulNBitsQuantizer stores for a matrix. A spare code at the end of a row is taken as 0, it is not defined there.
float.onnx   a small model of MatMul, Gemm, Gather and LSTM, and what onnxruntime.quantization.quantize_dynamic makes of it:
per-channel.onnx, per-tensor.onnx
"""
import os, zlib
import numpy as np, onnx, onnxruntime as ort
from onnx import TensorProto as T, helper as h, numpy_helper as nh
from onnxruntime.quantization import QuantType, quant_utils, quantize_dynamic

HERE = os.path.dirname(os.path.abspath(__file__))
U64 = np.uint64


def mix(seed, n):
    """splitmix64: n hashes of the counters seed * 2^32 + i."""
    with np.errstate(over="ignore"):
        z = U64(seed) * U64(1 << 32) + np.arange(n, dtype=U64)
        z = (z + U64(1)) * U64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
        return z ^ (z >> U64(31))


def unit(z):
    """24 bits as float32 in -1..1, exact."""
    return (z >> U64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


def tensor(seed, n):
    """n float32 of one of eight families: seed mod 8."""
    z, f32 = mix(seed, n), np.float32
    u = unit(z)
    family = seed % 8
    if family == 0:
        return u
    if family == 1:
        return u * f32(37.5) + f32(11)
    if family == 2:
        return np.abs(u) * f32(1e-3)
    if family == 3:  # every exponent from 2^-60 to 2^60
        return u * np.exp2(((z & U64(127)).astype(np.int64) % 121 - 60).astype(np.float64)).astype(f32)
    if family == 4:  # multiples of a half: ties
        return ((z & U64(1023)).astype(np.int64) - 512).astype(f32) * f32(0.5)
    if family == 5:  # subnormals
        return u * f32(2.0**-130)
    if family == 6:  # mostly zeros
        return np.where((z & U64(7)) == 0, u * f32(4), f32(0)).astype(f32)
    return np.full(n, unit(mix(seed, 1))[0] * f32(3), f32)


def session(nodes, inputs, outputs, opset):
    g = h.make_graph(nodes, "g", [h.make_tensor_value_info(n, t, s) for n, t, s in inputs],
                     [h.make_tensor_value_info(n, t, None) for n, t in outputs])
    m = h.make_model(g, opset_imports=[h.make_opsetid("", opset)], ir_version=10)
    return ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"])


TYPES = {"int8": (T.INT8, np.int8), "uint8": (T.UINT8, np.uint8), "int16": (T.INT16, np.int16), "uint16": (T.UINT16, np.uint16)}


def affine():
    q, d = {}, {}
    for name, (t, _) in TYPES.items():
        q[name] = session([h.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])],
                          [("x", T.FLOAT, ["n"]), ("s", T.FLOAT, []), ("z", t, [])], [("y", t)], 21)
        d[name] = session([h.make_node("DequantizeLinear", ["y", "s", "z"], ["x"])],
                          [("y", t, ["n"]), ("s", T.FLOAT, []), ("z", t, [])], [("x", T.FLOAT)], 21)
    dyn = session([h.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])], [("x", T.FLOAT, ["n"])],
                  [("y", T.UINT8), ("s", T.FLOAT), ("z", T.UINT8)], 21)
    crc = lambda *a: "%08x" % zlib.crc32(b"".join(np.ascontiguousarray(x).tobytes() for x in a))
    with open(os.path.join(HERE, "affine.tsv"), "w") as f:
        for seed in range(1200):
            n = 1 + int(mix(seed + 100000, 1)[0] % U64(300))
            x = tensor(seed, n)
            name = list(TYPES)[(seed // 8) % 4]
            info = np.iinfo(TYPES[name][1])
            r = mix(seed + 200000, 2)
            scale = np.float32(0.5) if seed % 8 == 4 else (np.abs(unit(r[:1])) + np.float32(2.0**-10))[0] * np.float32(0.1)
            zero = TYPES[name][1](info.min + int(r[1] % U64(int(info.max) - int(info.min) + 1)))
            y = q[name].run(None, {"x": x, "s": np.array(scale), "z": np.array(zero)})[0]
            back = d[name].run(None, {"y": y, "s": np.array(scale), "z": np.array(zero)})[0]
            f.write("%d\t%d\t%s\t%s\t%s\t%s\n" % (seed, n, name, crc(y), crc(back), crc(*dyn.run(None, {"x": x}))))


def params():
    with open(os.path.join(HERE, "params.tsv"), "w") as f:
        for name, t in [(name, t) for name, (t, _) in TYPES.items()] + [("int4", T.INT4), ("uint4", T.UINT4)]:
            for symmetric in (False, True):
                qmin, qmax = quant_utils.get_qmin_qmax_for_qType(t, reduce_range=False, symmetric=symmetric)
                scales, zeros = [], []
                for seed in range(4000):
                    x = tensor(seed + 5000, 2)
                    z, s = quant_utils.compute_scale_zp(x.min(), x.max(), qmin, qmax, symmetric)
                    scales.append(s), zeros.append(int(z))
                f.write("%s\t%s\t%08x\t%08x\n" % (name, "symmetric" if symmetric else "asymmetric",
                        zlib.crc32(np.array(scales, np.float32).tobytes()), zlib.crc32(np.array(zeros, np.int32).tobytes())))


def nbits():
    import onnxruntime.capi._pybind_state as c
    with open(os.path.join(HERE, "nbits.tsv"), "w") as f:
        for seed in range(1400):
            if seed % 8 == 5:
                continue  # subnormal scales are not defined there
            r = [int(v) for v in mix(seed + 300000, 5)]
            bits, group, symmetric = 4 << (r[0] & 1), 16 << (r[1] % 4), bool(r[2] & 1)
            k, n = 1 + r[3] % 150, 1 + r[4] % 12
            w = np.ascontiguousarray(tensor(seed + 7000 - 7000 % 8, k * n).reshape(k, n))
            blocks = (k + group - 1) // group
            q, s = np.zeros((n, blocks, group * bits // 8), np.uint8), np.zeros((n, blocks), np.float32)
            z = np.zeros((n, (blocks * bits + 7) // 8), np.uint8)
            {4: c.quantize_matmul_4bits, 8: c.quantize_matmul_8bits}[bits](q, w, s, z, group, n, k, symmetric)
            if bits == 4 and k % 2:
                q.reshape(n, -1)[:, k // 2] &= 15
            crc = lambda a: zlib.crc32(a.tobytes())
            f.write("%d\t%d\t%d\t%d\t%d\t%d\t%08x\t%08x\t%08x\n" % (seed, bits, group, symmetric, k, n, crc(q), crc(s), 0 if symmetric else crc(z)))


def models():
    w = lambda seed, *s: unit(mix(seed, int(np.prod(s)))).reshape(s) * np.float32(0.4)
    zero = w(3, 24, 10)
    zero[:, 4] = 0  # a column without range
    zero[:, 5] = np.abs(zero[:, 5]) * np.float32(2.0**-132)  # and one of subnormals
    inits = {"table": w(1, 300, 16), "matmul.w": w(2, 16, 24), "gemm.w": zero, "gemm.b": w(4, 10), "gemmT.w": w(5, 12, 10),
             "lstm.w": w(6, 2, 28, 12), "lstm.r": w(7, 2, 28, 7), "lstm.b": w(8, 2, 56), "shape": np.array([-1, 24], np.int64),
             "shape3": np.array([-1, 1, 12], np.int64)}
    nodes = [h.make_node("Gather", ["table", "ids"], ["rows"], "gather"), h.make_node("MatMul", ["rows", "matmul.w"], ["a"], "matmul"),
             h.make_node("Reshape", ["a", "shape"], ["b"], "reshape"), h.make_node("Gemm", ["b", "gemm.w", "gemm.b"], ["c"], "gemm"),
             h.make_node("Gemm", ["c", "gemmT.w"], ["d"], "gemmT", transB=1), h.make_node("Reshape", ["d", "shape3"], ["e"], "reshape3"),
             h.make_node("LSTM", ["e", "lstm.w", "lstm.r", "lstm.b"], ["y"], "lstm", hidden_size=7, direction="bidirectional")]
    g = h.make_graph(nodes, "small", [h.make_tensor_value_info("ids", T.INT64, ["n", "m"])],
                     [h.make_tensor_value_info("y", T.FLOAT, None)], [nh.from_array(v, k) for k, v in inits.items()])
    m = h.make_model(g, opset_imports=[h.make_opsetid("", 17)], ir_version=8, producer_name="gen.py")
    path = os.path.join(HERE, "float.onnx")
    onnx.save(m, path)
    for name, per_channel in (("per-channel", True), ("per-tensor", False)):
        quantize_dynamic(path, os.path.join(HERE, name + ".onnx"), weight_type=QuantType.QInt8, per_channel=per_channel,
                         op_types_to_quantize=["MatMul", "Gather", "LSTM"])


if __name__ == "__main__":
    affine(), params(), nbits(), models()
