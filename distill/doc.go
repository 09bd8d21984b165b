// Package distill trains models: a student from a teacher's outputs and hard labels, a pruned model back to its accuracy with
// its zeros kept, and, as distillation without a teacher, a new model from scratch. Trainer holds the loop; Arch makes
// new classifiers.
//
// The same model, examples, settings and seed give the same bytes of weights on every amd64 CPU and with any number of threads,
// also when training is stopped and goes on from a checkpoint.
package distill
