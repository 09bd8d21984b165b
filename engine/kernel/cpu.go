package kernel

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
)

// ISA is an instruction set level. Levels are ordered: a CPU that has one has every lower one.
type ISA int

// The levels of an amd64 CPU; other architectures run Generic.
const (
	Generic    ISA = iota // pure Go
	AVX2                  // AVX2 and FMA3
	AVX512                // AVX-512 F, BW, VL and DQ
	AVX512VNNI            // AVX512 and VPDPBUSD on 512-bit registers
)

// ISAEnv names the environment variable that lowers the level: generic, avx2, avx512 or avx512vnni.
const ISAEnv = "WATTSHED_ISA"

var isaNames = [...]string{"generic", "avx2", "avx512", "avx512vnni"}

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

var detectOnce = sync.OnceValue(detectISA)

var isaFromEnv = sync.OnceValues(func() (ISA, error) { return lowerISA(Detect(), os.Getenv(ISAEnv)) })

// lowerISA returns the lower one of i and the level called s; i itself if s is empty or, with an error, unknown.
func lowerISA(i ISA, s string) (ISA, error) {
	if s == "" {
		return i, nil
	}
	l, err := ParseISA(s)
	if err != nil {
		return i, fmt.Errorf("%s: %w", ISAEnv, err)
	}
	return min(i, l), nil
}

// Detect returns the highest level that this CPU and operating system support; Generic under the tag noasm.
func Detect() ISA { return detectOnce() }

// Active returns the level that kernels run at: the lowest of Detect, the environment variable ISAEnv (read once) and
// Limit. An unknown value in the environment is ignored here and reported by ISAError.
func Active() ISA {
	if i := isaActive.Load(); i != 0 {
		return ISA(i - 1)
	}
	return setActive()
}

func setActive() ISA {
	i, _ := isaFromEnv()
	if l := isaLimit.Load(); l != 0 {
		i = min(i, ISA(l-1))
	}
	isaActive.Store(int32(i) + 1)
	return i
}

// ISAError reports an ISAEnv value that is not a level, or nil.
func ISAError() error {
	_, err := isaFromEnv()
	return err
}

// Limit lowers Active to at most i until restore is called. It is for tests and benchmarks only: it acts on the whole
// process, and calls nest but must be restored in reverse order.
func Limit(i ISA) (restore func()) {
	old := isaLimit.Swap(int32(i) + 1)
	setActive()
	return func() {
		isaLimit.Store(old)
		setActive()
	}
}

// Features lists the CPU features that kernels look at and that are present, in a fixed order, for reports.
func Features() []string { return cpuFeatures() }
