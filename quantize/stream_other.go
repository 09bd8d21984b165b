//go:build !linux

package quantize

func freeMemory() int64 { return 0 }

// FreeDisk returns the bytes that are free where path is going to be, -1 where that is not known.
func FreeDisk(string) int64 { return -1 }

func diskSpeed(string) float64 { return 0 }
