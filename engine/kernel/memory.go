package kernel

import "unsafe"

const (
	hugePage = 2 << 20 // bytes of a huge page of the CPUs that have assembly
	// hugeFrom is the number of bytes from which on memory starts on a huge page of its own.
	hugeFrom = 4 * hugePage
)

// Memory returns n zeroed bytes, from a multiple of 64 on, as packed weights have them: of large ones, whole pages of 2 MiB are asked of
// the system to be huge pages, whose translations the CPU need not look up 512 times, and over whose ends it prefetches.
func Memory(n int) []byte {
	to := 64
	if n >= hugeFrom {
		to = hugePage
	}
	raw := make([]byte, n+to-1)
	off := int(-uintptr(unsafe.Pointer(&raw[0])) & uintptr(to-1))
	b := raw[off : off+n : off+n]
	if lead := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (hugePage - 1)); n-lead >= hugePage {
		adviseHuge(b[lead:lead+(n-lead)&^(hugePage-1)], n >= hugeFrom)
	}
	return b
}

// signedMemory is Memory as signed bytes.
func signedMemory(n int) []int8 {
	return unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(Memory(n)))), n)
}
