// Package model holds the intermediate representation that every other room works on: a
// Graph of Nodes over named Values, with Tensors as weights.
//
// The representation follows ONNX (names join nodes, attributes are typed, control flow carries
// subgraphs), so that reading and writing a file loses nothing. A Graph owns its Nodes; Tensors are
// immutable and may be shared by any number of graphs: change a weight by putting another Tensor in
// its place. Clone is therefore cheap, whatever the size of the weights.
package model
