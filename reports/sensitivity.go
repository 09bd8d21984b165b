package reports

import (
	"fmt"
)

// SensitivityRow is a weight in a sensitivity plot: signal-to-noise ratios in dB of the weight itself and of the outputs when
// it alone is quantized.
type SensitivityRow struct {
	Weight       string
	SQNR, Output float64
}

// sensitivityRows is how many weights the plot shows.
const sensitivityRows = 40

// SensitivityPlot draws the given order of weights, at most the first 40.
func SensitivityPlot(scheme string, list []SensitivityRow) Plot {
	p := Plot{Name: "sensitivity", Title: "Sensitivity to " + scheme, Alt: "Signal-to-noise ratio of each weight and of the outputs when that weight alone is quantized.",
		subtitle: "each weight quantized alone; less is worse"}
	if len(list) == 0 {
		p.Missing = "there are no weights to quantize"
		return p
	}
	if len(list) > sensitivityRows {
		p.caption = fmt.Sprintf("The first %d of %d weights.", sensitivityRows, len(list))
		list = list[:sensitivityRows]
	}
	rp := rowPlot{wide: 200} // paths of layers are long
	var out, own []cell
	for _, r := range list {
		rp.names = append(rp.names, r.Weight)
		out = append(out, cell{parts: []part{{max(r.Output, 0), okabeIto[0]}}, text: fmt.Sprintf("%.1f dB", r.Output)})
		own = append(own, cell{parts: []part{{max(r.SQNR, 0), okabeIto[1]}}, text: fmt.Sprintf("%.1f dB", r.SQNR)})
	}
	rp.panels = []panel{{title: "outputs, dB", cells: out, share: 1}, {title: "weight, dB", cells: own, share: 1}}
	return p.of(rp)
}
