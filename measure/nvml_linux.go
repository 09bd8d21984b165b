//go:build linux && !static && (amd64 || arm64)

package measure

import (
	"bytes"
	"fmt"

	"github.com/ebitengine/purego"
)

// nvmlLibrary is libnvidia-ml.so.1, loaded at run time.
type nvmlLibrary struct {
	shutdown  func() int32
	count     func(*uint32) int32
	handle    func(uint32, *uintptr) int32
	name      func(uintptr, *byte, uint32) int32
	uuid      func(uintptr, *byte, uint32) int32
	energy    func(uintptr, *uint64) int32
	power     func(uintptr, *uint32) int32
	limit     func(uintptr, *uint32) int32
	mig       func(uintptr, *uint32, *uint32) int32
	use       func(uintptr, *[2]uint32) int32
	errString func(int32) string
}

// LoadNVML loads the library of the NVIDIA driver. ErrNoCounter where there is no driver, which is a normal state.
func LoadNVML() (NVML, error) {
	lib, err := purego.Dlopen("libnvidia-ml.so.1", purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("%w: nvml: %w", ErrNoCounter, err)
	}
	var l nvmlLibrary
	var start func() int32
	for _, f := range []struct {
		ptr  any
		name string
	}{{&start, "nvmlInit_v2"}, {&l.shutdown, "nvmlShutdown"}, {&l.count, "nvmlDeviceGetCount_v2"}, {&l.handle, "nvmlDeviceGetHandleByIndex_v2"},
		{&l.name, "nvmlDeviceGetName"}, {&l.uuid, "nvmlDeviceGetUUID"}, {&l.energy, "nvmlDeviceGetTotalEnergyConsumption"},
		{&l.power, "nvmlDeviceGetPowerUsage"}, {&l.limit, "nvmlDeviceGetEnforcedPowerLimit"}, {&l.mig, "nvmlDeviceGetMigMode"},
		{&l.use, "nvmlDeviceGetUtilizationRates"}, {&l.errString, "nvmlErrorString"}} {
		addr, err := purego.Dlsym(lib, f.name)
		if err != nil {
			return nil, fmt.Errorf("%w: nvml: %s: %w", ErrNoCounter, f.name, err)
		}
		purego.RegisterFunc(f.ptr, addr)
	}
	if err := l.check("nvmlInit", start()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoCounter, err)
	}
	return &l, nil
}

// check turns a return code into an error with the library's own words.
func (l *nvmlLibrary) check(call string, code int32) error {
	if code == 0 {
		return nil
	}
	return fmt.Errorf("%s: %s (%d)", call, l.errString(code), code)
}

// Count returns the number of boards.
func (l *nvmlLibrary) Count() (int, error) {
	var n uint32
	err := l.check("nvmlDeviceGetCount", l.count(&n))
	return int(n), err
}

func (l *nvmlLibrary) device(i int) (uintptr, error) {
	var h uintptr
	err := l.check("nvmlDeviceGetHandleByIndex", l.handle(uint32(i), &h)) // before h is looked at
	return h, err
}

func (l *nvmlLibrary) text(i int, call string, f func(uintptr, *byte, uint32) int32) (string, error) {
	h, err := l.device(i)
	if err != nil {
		return "", err
	}
	var b [96]byte
	if err := l.check(call, f(h, &b[0], uint32(len(b)))); err != nil {
		return "", err
	}
	s, _, _ := bytes.Cut(b[:], []byte{0})
	return string(s), nil
}

// Name returns the product name of board i (nvmlDeviceGetName).
func (l *nvmlLibrary) Name(i int) (string, error) { return l.text(i, "nvmlDeviceGetName", l.name) }

// UUID returns the globally unique identifier of board i (nvmlDeviceGetUUID).
func (l *nvmlLibrary) UUID(i int) (string, error) { return l.text(i, "nvmlDeviceGetUUID", l.uuid) }

// TotalEnergy returns the mJ that board i took since its driver was loaded (nvmlDeviceGetTotalEnergyConsumption, from Volta on).
func (l *nvmlLibrary) TotalEnergy(i int) (uint64, error) {
	h, err := l.device(i)
	if err != nil {
		return 0, err
	}
	var v uint64
	err = l.check("nvmlDeviceGetTotalEnergyConsumption", l.energy(h, &v))
	return v, err
}

// Power returns what board i draws, in mW (nvmlDeviceGetPowerUsage).
func (l *nvmlLibrary) Power(i int) (uint32, error) {
	return l.milliwatts(i, "nvmlDeviceGetPowerUsage", l.power)
}

// EnforcedLimit returns the power limit that board i keeps to, in mW: the least of all that are set (nvmlDeviceGetEnforcedPowerLimit).
func (l *nvmlLibrary) EnforcedLimit(i int) (uint32, error) {
	return l.milliwatts(i, "nvmlDeviceGetEnforcedPowerLimit", l.limit)
}

func (l *nvmlLibrary) milliwatts(i int, call string, f func(uintptr, *uint32) int32) (uint32, error) {
	h, err := l.device(i)
	if err != nil {
		return 0, err
	}
	var v uint32
	err = l.check(call, f(h, &v))
	return v, err
}

// MIG reports whether board i is split into instances now; a mode that waits for a reset does not count (nvmlDeviceGetMigMode).
func (l *nvmlLibrary) MIG(i int) (bool, error) {
	h, err := l.device(i)
	if err != nil {
		return false, err
	}
	var now, later uint32
	err = l.check("nvmlDeviceGetMigMode", l.mig(h, &now, &later))
	return now == 1, err
}

// Utilization returns the percentage of the last sampling period in which a kernel ran on board i (nvmlDeviceGetUtilizationRates).
func (l *nvmlLibrary) Utilization(i int) (uint32, error) {
	h, err := l.device(i)
	if err != nil {
		return 0, err
	}
	var v [2]uint32 // GPU, memory
	err = l.check("nvmlDeviceGetUtilizationRates", l.use(h, &v))
	return v[0], err
}

// Close shuts the library down (nvmlShutdown); no other call may follow.
func (l *nvmlLibrary) Close() error { return l.check("nvmlShutdown", l.shutdown()) }
