//go:build amd64 && !noasm

package kernel

// cellUnits is a turn of lstmCell256.
const cellUnits = 32

// lstmCellWide does whole turns of units from the first one on with 256-bit registers, and returns how many units it did.
func lstmCellWide(zi, zo, zf, zg, p, cn, hn []float32) (done int) {
	isa, n := Active(), len(hn)&^(cellUnits-1)
	if !isa.hasAVX2() || isa.hasAVX512() {
		return 0
	}
	for done < n {
		done += lstmCell256(&zi[done], &zo[done], &zf[done], &zg[done], &p[done], &cn[done], &hn[done], n-done)
		if done < n { // a turn with arguments that it leaves alone
			lstmCellAVX2(&zi[done], &zo[done], &zf[done], &zg[done], &p[done], &cn[done], &hn[done], cellUnits)
			done += cellUnits
		}
	}
	return done
}
