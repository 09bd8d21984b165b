"""Quantizes a model with onnxruntime.quantization, for comparison: python3 ort_models.py MODEL OUT SCHEME [CALIBRATION.npz]

In an environment with onnx 1.23.2, onnx_ir, onnxruntime 1.32.0, numpy and sympy. SCHEME is one of
  dynamic   quantize_dynamic, s8 weights by channel
  static    quant_pre_process, then quantize_static: QDQ, u8 activations, s8 weights by channel, MinMax
  static-percentile, static-entropy   the same with those methods of calibration, percentile 99.99
  int4      MatMulNBitsQuantizer: products and tables, blocks of 32, with zero points
  int4-matmul   the same of products only
  raise     nothing but opset 17
The opset is raised where a scheme needs it (static: 13 or more; int4: 21 where there are tables). CALIBRATION has an array NNNN.INPUT per
run and input. --skip-symbolic and --per-tensor leave out what fails on some models.
"""
import os, sys, tempfile
import numpy as np, onnx
from onnx import version_converter
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType


METHODS = {"static": CalibrationMethod.MinMax, "static-percentile": CalibrationMethod.Percentile, "static-entropy": CalibrationMethod.Entropy}


class Reader(CalibrationDataReader):
    def __init__(self, path):
        arrays = np.load(path)
        runs = {}
        for key in arrays.files:
            run, name = key.split(".", 1)
            runs.setdefault(run, {})[name] = arrays[key]
        self.feeds = iter([runs[k] for k in sorted(runs)])

    def get_next(self):
        return next(self.feeds, None)


def raised(path, least, scratch):
    """The model at an opset of at least least."""
    m = onnx.load(path)
    have = next(o.version for o in m.opset_import if o.domain in ("", "ai.onnx"))
    if have >= least:
        return path
    out = os.path.join(scratch, "raised.onnx")
    onnx.save(version_converter.convert_version(m, least), out)
    return out


def main():
    model, out, scheme = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3]
    calibration = os.path.abspath(sys.argv[4]) if len(sys.argv) > 4 else None
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # the shape inference leaves files where it runs
        if scheme == "dynamic":
            from onnxruntime.quantization import quantize_dynamic
            quantize_dynamic(model, out, weight_type=QuantType.QInt8, per_channel=True)
        elif scheme in METHODS:
            from onnxruntime.quantization import quantize_static
            from onnxruntime.quantization.shape_inference import quant_pre_process
            prepared = os.path.join(scratch, "prepared.onnx")
            quant_pre_process(raised(model, 17, scratch), prepared, auto_merge=True, skip_symbolic_shape="--skip-symbolic" in sys.argv)
            quantize_static(prepared, out, Reader(calibration), quant_format=QuantFormat.QDQ, per_channel="--per-tensor" not in sys.argv, activation_type=QuantType.QUInt8,
                            weight_type=QuantType.QInt8, calibrate_method=METHODS[scheme], extra_options={"CalibPercentile": 99.99})
        elif scheme in ("int4", "int4-matmul"):
            from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer
            m = onnx.load(model)
            ops = ("MatMul", "Gather") if scheme == "int4" else ("MatMul",)
            if "Gather" in ops and any(n.op_type == "Gather" for n in m.graph.node):
                m = onnx.load(raised(model, 21, scratch))
            config = DefaultWeightOnlyQuantConfig(block_size=32, is_symmetric=False, op_types_to_quantize=ops,
                                                  quant_axes=(("MatMul", 0), ("Gather", 1)))
            q = MatMulNBitsQuantizer(m, algo_config=config)
            q.process()
            q.model.save_model_to_file(out, False)
        elif scheme == "raise":
            onnx.save(version_converter.convert_version(onnx.load(model), 17), out)
        else:
            sys.exit("unknown scheme " + scheme)


main()
