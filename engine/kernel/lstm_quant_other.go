//go:build !amd64 || noasm

package kernel

func (l *LSTMQuant) fast(gates, c, h []float32) bool { return false }
