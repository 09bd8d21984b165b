//go:build !amd64 || noasm

package kernel

func stride2Vec(dst, src *float32, n int) bool { return false }

func interleave2Vec(dst, x, y *float32, n int) bool { return false }

func transpose8Vec(dst, src *byte, dstStride, srcStride, blocks int) bool { return false }

func copyRowsVec(dst, src *byte, w, rows, dstStride, srcStride int, stream bool) bool { return false }

func streamFence() {}

func gatherRowsVec(dst, src *byte, index *int, w, count int, stream bool) bool { return false }

func transpose16Vec(dst, src *byte, dstStride, srcStride, n int, stream bool) int { return 0 }

func transpose64Vec(dst, src *byte, dstStride, srcStride, n int) int { return 0 }
