package measure

import (
	"slices"
	"strings"
)

// meaning is what the joules of a block stand for: of which kind they are, over which zones, and whether another process counted the machine
// meanwhile, so that modelled ones are without its idle power. Joules of different meanings are never set beside each other.
type meaning struct {
	kind     Kind
	zones    string
	attached bool
}

// meaning of the block's headline; ok is false where it has no complete figure.
func (b Block) meaning() (a meaning, ok bool) {
	a = meaning{kind: b.kind(), attached: b.CountedBy() != ""}
	if a.kind == Modelled {
		_, ok = b.headline(Modelled)
	} else {
		_, ok = b.headline(Measured)
	}
	var zones []string
	for _, d := range b.Energy {
		if d.Domain.Headline {
			zones = append(zones, d.Domain.Zone)
		}
	}
	slices.Sort(zones)
	a.zones = strings.Join(zones, "\x00")
	return a, ok && b.Inferences > 0
}

// meaningOf is the one that all joules of a comparison have: that which the most arms have a figure of, baseline included; of several
// that which is measured, then that in which this process counted the machine itself, then that of the most blocks. The zero value where no
// block has a figure. Void blocks do not count.
func meaningOf(blocks []Block) meaning {
	type seen struct {
		arms   map[string]bool
		blocks int
	}
	by := map[meaning]*seen{}
	var order []meaning
	for _, b := range blocks {
		a, ok := b.meaning()
		if !ok || b.Void != "" {
			continue
		}
		if by[a] == nil {
			by[a] = &seen{arms: map[string]bool{}}
			order = append(order, a)
		}
		by[a].blocks++
		arm := "v " + b.Variant
		if b.Baseline {
			arm = "baseline"
		}
		by[a].arms[arm] = true
	}
	rank := func(a meaning) [4]int {
		r := [4]int{len(by[a].arms), 0, 0, by[a].blocks}
		switch a.kind {
		case Measured:
			r[1] = 2
		case Mixed:
			r[1] = 1
		}
		if !a.attached {
			r[2] = 1
		}
		return r
	}
	if len(order) == 0 {
		return meaning{}
	}
	return slices.MaxFunc(order, func(a, b meaning) int { // the first of equals
		x, y := rank(a), rank(b)
		return slices.Compare(x[:], y[:])
	})
}

// Counts reports whether the joules of a block mean what the comparison's energies do: those of other blocks, taken while
// another process counted the machine, or read from another meter, are in no figure. It is true for every block of a comparison without energy.
func (c Comparison) Counts(b Block) bool {
	if c.meaning == (meaning{}) {
		return true
	}
	a, ok := b.meaning()
	return ok && a == c.meaning
}

// checkAttached says what another process that counts this machine means for the figures, and of which blocks they are.
func (r *runner) checkAttached(blocks []Block, of meaning) {
	own, attached := 0, ""
	for _, b := range blocks {
		by := b.CountedBy()
		switch {
		case by == "":
			if _, ok := b.meaning(); ok && b.Void == "" {
				own++
			}
			continue
		case b.kind() == "":
			r.warn("%s counts this machine: its counters are in no figure of the blocks of that time", by)
		default:
			r.warn("%s counts this machine: the modelled energy of the blocks of that time is without the machine's idle power", by)
		}
		attached = by
	}
	switch {
	case attached == "" || own == 0:
	case of.attached:
		r.warn("%s stopped counting this machine before the end, when some variants were finished: the joules per inference of all variants are those of the blocks while it counted, without the machine's idle power", attached)
	default:
		r.warn("%s stopped counting this machine: joules per inference, of all variants, are those of the blocks after it", attached)
	}
}
