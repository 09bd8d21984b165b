#!/usr/bin/env python3
"""Write the fixtures of this folder with ONNX Runtime (CPU provider, one thread).

usage: generate.py OUT_DIR MINILM.onnx TOKENIZER.json

contrib-ort-1.32.0.tgz: small models of com.microsoft operators with inputs and ONNX Runtime's outputs, in the layout of
the conformance archive. minilm-ort-1.32.0.tgz: three sentences, padded to one length, with the attention mask, and the
last hidden state that ONNX Runtime computes for all-MiniLM-L6-v2; no model.
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
    minilm(out / "minilm-ort-1.32.0.tgz", sys.argv[2], sys.argv[3])


if __name__ == "__main__":
    main()
