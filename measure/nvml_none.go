//go:build !(linux && !static && (amd64 || arm64))

package measure

import "fmt"

// LoadNVML reports that this build does not load the NVIDIA driver's library.
func LoadNVML() (NVML, error) {
	return nil, fmt.Errorf("%w: nvml: not in this build", ErrNoCounter)
}
