package quantize

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// CPU names the processor that a quantized file is for.
type CPU string

// CPUs.
const (
	HostCPU CPU = "host"     // this machine's
	X86VNNI CPU = "x86-vnni" // x86 with AVX-512 VNNI, AVX-VNNI or AMX
	X86AVX2 CPU = "x86-avx2" // x86 without
	ARM64   CPU = "arm64"
)

// CPUs lists them.
var CPUs = []CPU{HostCPU, X86VNNI, X86AVX2, ARM64}

// Check refuses an unknown CPU; "" is HostCPU.
func (c CPU) Check() error {
	if c == "" || slices.Contains(CPUs, c) {
		return nil
	}
	return fmt.Errorf("quantize: target CPU %q: want one of %v", c, CPUs)
}

// isa returns architecture, as GOARCH names it, and features, as kernel.Features lists them.
func (c CPU) isa() (arch string, features []string) {
	switch c {
	case X86VNNI:
		return "amd64", []string{"avx2", "avx512_vnni"}
	case X86AVX2:
		return "amd64", []string{"avx2"}
	case ARM64:
		return "arm64", nil
	}
	return runtime.GOARCH, kernel.Features()
}

// ReduceRange is Target.ReduceRange for the CPU; the reason says which one it is about.
func (c CPU) ReduceRange(t Target) (reduce bool, reason string) {
	arch, features := c.isa()
	reduce, reason = t.ReduceRange(arch, features)
	if t == TensorRT {
		return reduce, reason
	}
	if c == "" || c == HostCPU {
		return reduce, reason + " (this machine's CPU; name another with target_cpu)"
	}
	return reduce, fmt.Sprintf("%s (target CPU %s)", reason, c)
}

// ReduceRange decides whether int8 weights keep to 7 bits (-64..64) on a target, and says why. x86 without VNNI multiplies
// u8 by s8 with VPMADDUBSW, which adds pairs in saturating int16: 2*255*127 overflows it, 2*255*64 does not. features are
// those of the CPU that the file is for, as kernel.Features lists them; arch is its GOARCH.
func (t Target) ReduceRange(arch string, features []string) (reduce bool, reason string) {
	switch {
	case t == TensorRT:
		return false, "TensorRT sums int8 products in int32"
	case arch != "amd64" && arch != "386":
		return false, arch + " sums int8 products in int32"
	}
	for _, f := range features {
		if strings.Contains(f, "vnni") || strings.Contains(f, "amx") {
			return false, "the CPU has " + f + ", which sums u8 x s8 products in int32"
		}
	}
	return true, "x86 without VNNI sums u8 x s8 products in saturating int16: 7-bit weights cannot overflow it"
}

// chooseWeightRange decides on 7-bit weights and makes the note that says why. asked overrules the CPU.
func chooseWeightRange(asked *bool, c CPU, t Target, dtype model.DType) (reduce bool, note model.Note) {
	var reason string
	switch {
	case dtype == model.Uint8:
		reason = "u8 x u8 products are summed in int32 by all CPUs"
	case asked != nil:
		reduce, reason = *asked, "as asked for"
	default:
		reduce, reason = c.ReduceRange(t)
	}
	word := map[bool]string{true: "on", false: "off"}[reduce]
	return reduce, model.Note{Weight: "(model)", Action: "reduce_range " + word, Reason: reason}
}

// chooseRange decides on 7-bit weights.
func (p *dynamicPlan) chooseRange() {
	p.reduce, p.range7 = chooseWeightRange(p.ReduceRange, p.CPU, ONNXRuntimeCPU, p.DType)
}
