//go:build !amd64 || noasm

package kernel

func transposeBlock(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	transposeGo(dst, ldd, src, lds, rows, cols)
}

func copyPanel(dst, src []float32, lds, k int) { copyPanelGo(dst, src, lds, k) }

func (im *convImage) packPanel(_ ISA, dst []float32, j int, offs []int) { im.packPanelGo(dst, j, offs) }
