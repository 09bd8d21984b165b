package kernel

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

// ISA is an instruction set level. Levels are ordered by what the kernels make of them. A CPU need not have every level below
// its own: Levels lists those that it has, and asking for one that it lacks gives the next lower one that it has.
type ISA int

// The levels. AVX2 to AMX are those of amd64, each with what the ones below it have, except that AVX512 and up do not need AVXVNNI;
// NEON and up are those of arm64.
const (
	Generic    ISA = iota // pure Go
	AVX2                  // AVX2, FMA3 and F16C
	AVXVNNI               // AVX2 and VPDPBUSD on 256-bit registers with a VEX prefix (AVX-VNNI)
	AVX512                // AVX-512 F, BW, VL and DQ
	AVX512VNNI            // AVX512 and VPDPBUSD on 512-bit registers
	AVX512BF16            // AVX512VNNI and VDPBF16PS on 512-bit registers
	AMX                   // AVX512BF16 and tiles of int8 and bfloat16 that the operating system lets this process use
	NEON                  // Advanced SIMD of ARMv8.0
	NEONDot               // NEON, SDOT and UDOT
	NEONI8MM              // NEONDot, SUDOT, USDOT and the matrix products of bytes
)

// ISAEnv names the environment variable that lowers the level: one of the names that String returns.
const ISAEnv = "WATTSHED_ISA"

var isaNames = [...]string{"generic", "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16", "amx", "neon", "neondot", "neoni8mm"}

// String returns the name that ISAEnv understands.
func (i ISA) String() string {
	if i < 0 || int(i) >= len(isaNames) {
		return fmt.Sprintf("ISA(%d)", int(i))
	}
	return isaNames[i]
}

// ParseISA is the inverse of String.
func ParseISA(s string) (ISA, error) {
	for i, n := range isaNames {
		if n == s {
			return ISA(i), nil
		}
	}
	return Generic, fmt.Errorf("kernel: unknown instruction set %q (want one of %v)", s, isaNames)
}

// isaLimit holds 1 + the level set by Limit, or 0; isaActive 1 + what Active returns, or 0 before its first call.
var isaLimit, isaActive atomic.Int32

// levelsOnce is what this machine has, in increasing order; Generic is the first.
var levelsOnce = sync.OnceValue(func() []ISA { return append([]ISA{Generic}, detectLevels()...) })

var isaFromEnv = sync.OnceValues(func() (ISA, error) { return lowerISA(Levels(), os.Getenv(ISAEnv)) })

// lowerISA returns what the environment asks for: the highest of the levels that is at most the one called s; the highest of all if s is
// empty or, with an error, unknown.
func lowerISA(levels []ISA, s string) (ISA, error) {
	top := levels[len(levels)-1]
	if s == "" {
		return top, nil
	}
	l, err := ParseISA(s)
	if err != nil {
		return top, fmt.Errorf("%s: %w", ISAEnv, err)
	}
	return atMost(levels, l), nil
}

// atMost returns the highest of the levels that is not above i.
func atMost(levels []ISA, i ISA) ISA {
	best := levels[0]
	for _, l := range levels {
		if l <= i {
			best = l
		}
	}
	return best
}

// Levels returns the levels that this CPU and operating system support, in increasing order: Generic alone under the tag noasm.
func Levels() []ISA { return slices.Clone(levelsOnce()) }

// Detect returns the highest of Levels.
func Detect() ISA {
	l := levelsOnce()
	return l[len(l)-1]
}

// Active returns the level that kernels run at: the highest of Levels that neither the environment variable ISAEnv (read once) nor Limit
// excludes. An unknown value in the environment is ignored here and reported by ISAError.
func Active() ISA {
	if i := isaActive.Load(); i != 0 {
		return ISA(i - 1)
	}
	return setActive()
}

func setActive() ISA {
	i, _ := isaFromEnv()
	if l := isaLimit.Load(); l != 0 {
		i = atMost(levelsOnce(), min(i, ISA(l-1)))
	}
	isaActive.Store(int32(i) + 1)
	return i
}

// ISAError reports an ISAEnv value that is not a level, or nil.
func ISAError() error {
	_, err := isaFromEnv()
	return err
}

// Limit lowers Active to the highest of Levels that is at most i until restore is called. It is for tests and benchmarks only: it acts on the whole
// process, and calls nest but must be restored in reverse order.
func Limit(i ISA) (restore func()) {
	old := isaLimit.Swap(int32(i) + 1)
	setActive()
	return func() {
		isaLimit.Store(old)
		setActive()
	}
}

// Features lists the CPU features that kernels look at and that are present, in a fixed order, for reports; under the tag noasm too.
func Features() []string { return cpuFeatures() }

// hasAVX2, hasAVX512, hasVNNI512, hasBF16 and hasTiles tell what code that is common to all architectures may ask of a level.
func (i ISA) hasAVX2() bool { return AVX2 <= i && i <= AMX }

func (i ISA) hasAVX512() bool { return AVX512 <= i && i <= AMX }

func (i ISA) hasVNNI512() bool { return AVX512VNNI <= i && i <= AMX }

func (i ISA) hasBF16() bool { return AVX512BF16 <= i && i <= AMX }

func (i ISA) hasTiles() bool { return i == AMX }
