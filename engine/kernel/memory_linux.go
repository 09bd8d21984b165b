package kernel

import "syscall"

// adviseHuge asks for huge pages under b, zeros, which starts and ends on a multiple of their size. Where it is refused the pages stay small.
// The advice changes no page that exists: anew drops those that the Go heap had used before, so that they come back, as zeros, as huge ones.
func adviseHuge(b []byte, anew bool) {
	if syscall.Madvise(b, syscall.MADV_HUGEPAGE) == nil && anew {
		_ = syscall.Madvise(b, syscall.MADV_DONTNEED)
	}
}
