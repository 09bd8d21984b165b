"""Makes the fixtures of static quantization: python3 gen_static.py, in an environment with onnx 1.23.2, onnxruntime 1.32.0, numpy.

static_float.onnx   a small convolutional classifier: Conv, Relu, depthwise Conv, Clip, Add, GlobalAveragePool, Flatten, Gemm, MatMul
static_qdq.onnx     what onnxruntime.quantization.quantize_static makes of it (QDQ, u8 activations, s8 weights by channel, MinMax)
static_reduced.onnx the same with reduce_range
static_ranges.json  the ranges that its calibrator found, as a calibration file
static_ranges_percentile.json, static_ranges_entropy.json
                    the same by its methods Percentile (99.99) and Entropy, symmetric ranges off
With the word "ranges" only the last two are written.
The inputs are tensors of gen.py's generator: family 0 of seeds 8, 16, ... 64.
"""
import json, os, sys, tempfile, warnings
import numpy as np, onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, create_calibrator, quantize_static
import gen

HERE = os.path.dirname(os.path.abspath(__file__))


def weight(name, seed, *shape):
    return nh.from_array((gen.tensor(seed, int(np.prod(shape))) * np.float32(0.5)).reshape(shape), name)


class Reader(CalibrationDataReader):
    def __init__(self):
        self.feeds = iter([{"x": gen.tensor(8 * i, 3 * 16 * 16).reshape(1, 3, 16, 16)} for i in range(1, 9)])

    def get_next(self):
        return next(self.feeds, None)


def main():
    n = h.make_node
    nodes = [
        n("Conv", ["x", "c1.w", "c1.b"], ["a"], name="c1", pads=[1, 1, 1, 1], strides=[2, 2]),
        n("Relu", ["a"], ["ar"], name="r1"),
        n("Conv", ["ar", "c2.w", "c2.b"], ["b"], name="c2", pads=[1, 1, 1, 1], group=8),
        n("Clip", ["b", "lo", "hi"], ["bc"], name="clip"),
        n("Conv", ["bc", "c3.w", "c3.b"], ["c"], name="c3"),
        n("Add", ["ar", "c"], ["d"], name="add"),
        n("GlobalAveragePool", ["d"], ["p"], name="pool"),
        n("Flatten", ["p"], ["f"], name="flatten"),
        n("Gemm", ["f", "g.w", "g.b"], ["g"], name="gemm", transB=1),
        n("Relu", ["g"], ["gr"], name="r2"),
        n("MatMul", ["gr", "m.w"], ["y"], name="matmul"),
    ]
    init = [weight("c1.w", 16, 8, 3, 3, 3), weight("c1.b", 24, 8), weight("c2.w", 32, 8, 1, 3, 3), weight("c2.b", 40, 8),
            weight("c3.w", 48, 8, 8, 1, 1), weight("c3.b", 56, 8), weight("g.w", 64, 12, 8), weight("g.b", 72, 12),
            weight("m.w", 80, 12, 5), nh.from_array(np.float32(0), "lo"), nh.from_array(np.float32(6), "hi")]
    g = h.make_graph(nodes, "static", [h.make_tensor_value_info("x", T.FLOAT, [1, 3, 16, 16])],
                     [h.make_tensor_value_info("y", T.FLOAT, [1, 5])], init)
    m = h.make_model(g, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(m, full_check=True)
    path = os.path.join(HERE, "static_float.onnx")
    if sys.argv[1:] != ["ranges"]:
        onnx.save(m, path)
        for name, reduce in (("static_qdq", False), ("static_reduced", True)):
            quantize_static(path, os.path.join(HERE, name + ".onnx"), Reader(), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=reduce,
                            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax)
        ranges(path, "static_ranges", "min-max", CalibrationMethod.MinMax, {})
    ranges(path, "static_ranges_percentile", "percentile", CalibrationMethod.Percentile, {"percentile": 99.99})
    ranges(path, "static_ranges_entropy", "entropy", CalibrationMethod.Entropy, {})


def ranges(path, name, word, method, options):
    """Writes the ranges that a calibrator finds."""
    with tempfile.TemporaryDirectory() as scratch:
        cal = create_calibrator(path, None, os.path.join(scratch, "augmented.onnx"), method, extra_options=options)
        cal.collect_data(Reader())
        found = {k: [float(np.asarray(v.range_value[0]).ravel()[0]), float(np.asarray(v.range_value[1]).ravel()[0])] for k, v in cal.compute_data().data.items()}
    with open(os.path.join(HERE, name + ".json"), "w") as f:
        json.dump({"schema": "wattshed.calibration/1", "method": word, "source": "onnxruntime.quantization 1.32.0", "runs": 8, "ranges": found}, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
