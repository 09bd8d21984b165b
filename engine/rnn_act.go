package engine

import (
	"fmt"
	"math"
	"strings"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// activation applies a function in place.
type activation[T real] func(x []T)

// activations reads the attribute activations: len(defaults) functions for each direction. std reports whether they
// are the defaults.
func activations[T real](n *model.Node, defaults []string, dirs int) (acts []activation[T], std bool, err error) {
	names := make([]string, 0, dirs*len(defaults))
	if a := n.Attr("activations"); a != nil && len(a.Strings) > 0 {
		for _, s := range a.Strings {
			names = append(names, string(s))
		}
	} else {
		for range dirs {
			names = append(names, defaults...)
		}
	}
	if len(names) != dirs*len(defaults) {
		return nil, false, fmt.Errorf("%d activations for %d directions", len(names), dirs)
	}
	var alphas, betas []float32
	if a := n.Attr("activation_alpha"); a != nil {
		alphas = a.Floats
	}
	if a := n.Attr("activation_beta"); a != nil {
		betas = a.Floats
	}
	std = true
	for i, name := range names {
		if !strings.EqualFold(name, defaults[i%len(defaults)]) {
			std = false
		}
		f, a, b, err := activationByName(name)
		if err != nil {
			return nil, false, err
		}
		if a && len(alphas) > 0 {
			f.alpha, alphas = float64(alphas[0]), alphas[1:]
		}
		if b && len(betas) > 0 {
			f.beta, betas = float64(betas[0]), betas[1:]
		}
		acts = append(acts, applyAct[T](f))
	}
	return acts, std, nil
}

type actSpec struct {
	name        string
	f           func(x, a, b float64) float64
	vec         func(dst, src []float32)
	alpha, beta float64
}

func applyAct[T real](s actSpec) activation[T] {
	return func(x []T) {
		if v, ok := any(x).([]float32); ok && s.vec != nil {
			s.vec(v, v)
			return
		}
		for i, v := range x {
			x[i] = T(s.f(float64(v), s.alpha, s.beta))
		}
	}
}

// activationByName finds an activation; a and b report whether it takes alpha and beta.
func activationByName(name string) (s actSpec, a, b bool, err error) {
	s.name = name
	switch strings.ToLower(name) {
	case "relu":
		s.f, s.vec = func(x, _, _ float64) float64 { return max(x, 0) }, kernel.Relu
	case "tanh":
		s.f, s.vec = func(x, _, _ float64) float64 { return math.Tanh(x) }, kernel.Tanh
	case "sigmoid":
		s.f, s.vec = func(x, _, _ float64) float64 { return sigmoid64(x) }, kernel.Sigmoid
	case "softsign":
		s.f = func(x, _, _ float64) float64 { return x / (1 + math.Abs(x)) }
	case "softplus":
		s.f = func(x, _, _ float64) float64 { return softplus64(x) }
	case "affine":
		a, b, s.alpha = true, true, 1
		s.f = func(x, p, q float64) float64 { return p*x + q }
	case "leakyrelu":
		a, s.alpha = true, 0.01
		s.f = func(x, p, _ float64) float64 {
			if x < 0 {
				return p * x
			}
			return x
		}
	case "thresholdedrelu":
		a, s.alpha = true, 1
		s.f = func(x, p, _ float64) float64 {
			if x < p {
				return 0
			}
			return x
		}
	case "scaledtanh":
		a, b, s.alpha, s.beta = true, true, 1, 1
		s.f = func(x, p, q float64) float64 { return p * math.Tanh(q*x) }
	case "hardsigmoid":
		a, b, s.alpha, s.beta = true, true, 0.2, 0.5
		s.f = func(x, p, q float64) float64 { return max(0, min(1, p*x+q)) }
	case "elu":
		a, s.alpha = true, 1
		s.f = func(x, p, _ float64) float64 {
			if x < 0 {
				return p * math.Expm1(x)
			}
			return x
		}
	default:
		return s, false, false, fmt.Errorf("activation %q: %w", name, model.ErrUnsupported)
	}
	return s, a, b, nil
}

// clipTo limits to [-v, v]; 0 means no limit.
func clipTo[T real](x []T, v T) {
	if v == 0 {
		return
	}
	for i := range x {
		x[i] = min(max(x[i], -v), v)
	}
}
