// Package grad differentiates model graphs. Gradient turns a graph that computes a scalar loss into a graph that
// computes the loss and its derivatives by reverse-mode differentiation (Griewank and Walther, "Evaluating
// Derivatives", 2nd ed., chapter 3), graph to graph, so that the engine plans and runs training as it does inference.
// The operators that only a backward pass or a loss needs are of the domain "wattshed.grad"; Ops holds their kernels.
// Beside it are the losses, the optimisers and the learning-rate schedules.
//
// Everything on the path of a recurrent or linear classifier gives the same bits on every CPU and with any number of threads:
// sums have one order, no function of package math but Sqrt takes part, and work is split over threads only between
// independent results.
package grad
