package kernel

import "syscall"

// adviseHuge asks for huge pages under b, which starts and ends on a multiple of their size. Where it is refused the pages stay small.
func adviseHuge(b []byte) { _ = syscall.Madvise(b, syscall.MADV_HUGEPAGE) }
