//go:build !amd64 || noasm

package kernel

// pause waits for about n short steps.
func pause(n int) {
	for range n * 8 {
		pauseStep()
	}
}

//go:noinline
func pauseStep() {}

// lastLevel is not known here.
func lastLevel() int { return 0 }
