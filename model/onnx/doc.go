// Package onnx reads and writes ONNX files, and raises the operator set of a graph.
//
// Reading parses the protobuf wire format by hand over a private memory map of the file: the bytes of
// weights stay where they are, as windows of the map (raw_data, external data), or are decoded on first use (every
// other encoding), so a model of any size opens in the time that its structure takes. Operator sets 1 to
// 28 are read. What this package does not understand is kept and written back: unknown fields, unknown operator
// domains, model-local functions, training information, sparse tensors, metadata, doc strings and names.
//
// Writing streams: only the structure is encoded in memory, weights go from where they are to the file. The same
// graph gives the same bytes. A graph that no stage has touched is written at the operator set and IR version that
// it came with; UpConvert raises the operator set, and nothing lowers it.
//
// Format: onnx.proto and onnx-data.proto of the ONNX project, IR version 14.
package onnx
