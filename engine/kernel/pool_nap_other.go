//go:build !linux

package kernel

import "sync/atomic"

func nap(*atomic.Uint32, uint32) {}

func rouse(*atomic.Uint32, int) int { return 0 }
