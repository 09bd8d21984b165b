//go:build !linux

package quantize

func freeMemory() int64 { return 0 }

func freeDisk(string) int64 { return -1 }

func diskSpeed(string) float64 { return 0 }
