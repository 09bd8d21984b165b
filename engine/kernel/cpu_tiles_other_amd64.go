//go:build amd64 && !linux && !noasm

package kernel

// requestTiles is false where how to get leave to use AMX tiles is not known.
func requestTiles() bool { return false }
