"""Makes the quantized models of package quantize/verify: python3 gen_verify.py, in an environment with onnx 1.23.2, onnxruntime 1.32.0, numpy.

elsewhere_qdq.onnx, elsewhere_qoperator.onnx   what onnxruntime.quantization.quantize_static makes of a model with Conv, ConvTranspose, Add, Mul, Concat,
                                               pooling, Sigmoid, LeakyRelu, Softmax, Gemm and MatMul
elsewhere_fused.onnx                           what ONNX Runtime's optimisation (extended) makes of elsewhere_qdq.onnx
elsewhere_products.onnx                        the same of what quantize_dynamic makes of three products, two of one input: DynamicQuantizeMatMul, MatMulIntegerToFloat
elsewhere_nbits.onnx, elsewhere_nbits_asym.onnx, elsewhere_nbits_qdq.onnx
                                               what MatMulNBitsQuantizer makes of two products and an embedding: 4 bits, blocks of 32
"""
import os, tempfile
import numpy as np, onnx, onnxruntime as ort
from onnx import TensorProto as T, helper as h, numpy_helper as nh
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer
import gen
from gen_static import weight

HERE = os.path.dirname(os.path.abspath(__file__))
at = lambda name: os.path.join(HERE, name + ".onnx")


class Reader(CalibrationDataReader):
    def __init__(self):
        self.feeds = iter([{"x": gen.tensor(8 * i, 3 * 16 * 16).reshape(1, 3, 16, 16)} for i in range(1, 9)])

    def get_next(self):
        return next(self.feeds, None)


def network():
    n = h.make_node
    nodes = [
        n("Conv", ["x", "c1.w", "c1.b"], ["a"], "c1", pads=[1, 1, 1, 1]),
        n("LeakyRelu", ["a"], ["al"], "leaky", alpha=0.1),
        n("Conv", ["al", "c2.w"], ["b"], "c2"),
        n("Add", ["al", "b"], ["s"], "add"),
        n("Sigmoid", ["b"], ["g"], "sigmoid"),
        n("Mul", ["s", "g"], ["m"], "mul"),
        n("Concat", ["m", "b"], ["c"], "concat", axis=1),
        n("MaxPool", ["c"], ["mp"], "maxpool", kernel_shape=[2, 2], strides=[2, 2]),
        n("AveragePool", ["mp"], ["ap"], "avgpool", kernel_shape=[2, 2], strides=[2, 2]),
        n("ConvTranspose", ["ap", "t.w"], ["t"], "transposed", strides=[2, 2]),
        n("Conv", ["t", "c3.w"], ["u"], "c3"),
        n("GlobalAveragePool", ["u"], ["p"], "pool"),
        n("Flatten", ["p"], ["f"], "flatten"),
        n("Gemm", ["f", "g.w", "g.b"], ["h"], "gemm", transB=1),
        n("Softmax", ["h"], ["sm"], "softmax", axis=-1),
        n("MatMul", ["sm", "m.w"], ["y"], "matmul"),
    ]
    init = [weight("c1.w", 16, 8, 3, 3, 3), weight("c1.b", 24, 8), weight("c2.w", 32, 8, 8, 1, 1), weight("t.w", 40, 16, 8, 2, 2),
            weight("c3.w", 48, 8, 8, 1, 1), weight("g.w", 64, 12, 8), weight("g.b", 72, 12), weight("m.w", 80, 12, 5)]
    return save("network", nodes, [("x", T.FLOAT, [1, 3, 16, 16])], [("y", T.FLOAT, [1, 5])], init, 17)


def save(name, nodes, inputs, outputs, init, opset):
    g = h.make_graph(nodes, name, [h.make_tensor_value_info(*v) for v in inputs], [h.make_tensor_value_info(*v) for v in outputs], init)
    m = h.make_model(g, opset_imports=[h.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(m, full_check=True)
    return m


def optimised(source, name):
    o = ort.SessionOptions()
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    o.optimized_model_filepath = at(name)
    ort.InferenceSession(source, o, providers=["CPUExecutionProvider"])


def blocks():
    n = h.make_node
    nodes = [n("Gather", ["table", "ids"], ["e"], "embed"), n("MatMul", ["e", "first.w"], ["a"], "first"), n("MatMul", ["a", "second.w"], ["y"], "second")]
    m = save("blocks", nodes, [("ids", T.INT64, ["n"])], [("y", T.FLOAT, ["n", 24])],
             [weight("table", 16, 96, 64), weight("first.w", 32, 64, 48), weight("second.w", 40, 48, 24)], 21)
    for name, symmetric, form, ops in (("elsewhere_nbits", True, QuantFormat.QOperator, ("MatMul", "Gather")), ("elsewhere_nbits_asym", False, QuantFormat.QOperator, ("MatMul",)),
                                       ("elsewhere_nbits_qdq", True, QuantFormat.QDQ, ("MatMul",))):
        config = DefaultWeightOnlyQuantConfig(block_size=32, is_symmetric=symmetric, quant_format=form, op_types_to_quantize=ops,
                                              quant_axes=(("MatMul", 0), ("Gather", 1)))
        q = MatMulNBitsQuantizer(onnx.ModelProto.FromString(m.SerializeToString()), algo_config=config)
        q.process()
        onnx.save(q.model.model, at(name))


def main():
    source = os.path.join(tempfile.mkdtemp(), "float.onnx")
    onnx.save(network(), source)
    for name, form in (("elsewhere_qdq", QuantFormat.QDQ), ("elsewhere_qoperator", QuantFormat.QOperator)):
        quantize_static(source, at(name), Reader(), quant_format=form, per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    optimised(at("elsewhere_qdq"), "elsewhere_fused")
    n = h.make_node
    onnx.save(save("products", [n("MatMul", ["x", "a.w"], ["a"], "first"), n("MatMul", ["x", "b.w"], ["b"], "second"), n("Add", ["a", "b"], ["c"], "add"), n("MatMul", ["c", "c.w"], ["y"], "third")],
                   [("x", T.FLOAT, ["n", 16])], [("y", T.FLOAT, ["n", 8])], [weight("a.w", 16, 16, 24), weight("b.w", 24, 16, 24), weight("c.w", 32, 24, 8)], 17), source)
    quantize_dynamic(source, source + ".int8", weight_type=QuantType.QInt8, per_channel=True)
    optimised(source + ".int8", "elsewhere_products")
    blocks()


if __name__ == "__main__":
    main()
