package quantize

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// PlanKey is the metadata property that holds the Plan of a written file.
const PlanKey = "wattshed.plan"

// Plan says what the initializers of a file were when it was written: CRC-32C of their bytes, as eight hexadecimal digits,
// by name. Under "" stands one digest of those of a few elements, and of those whose names two bodies share. A changed bit
// anywhere changes a digest; ones that differ in more than a few bits have the same by a chance of one in 2^32.
type Plan map[string]string

// minPlanned is the number of elements from which an initializer has a digest of its own: scales and zero points of
// activations are many and alike.
const minPlanned = 16

// castagnoli are the tables of CRC-32C, for which CPUs have an instruction.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// namedTensor is an initializer of a graph or a body.
type namedTensor struct {
	name   string
	tensor *model.Tensor
}

func planTensors(g *model.Graph) []namedTensor {
	var list []namedTensor
	eachGraph(g, func(g *model.Graph) {
		for _, name := range g.Initializers() {
			if t := g.Initializer(name); t != nil && t.DType() != model.String {
				list = append(list, namedTensor{name, t})
			}
		}
	})
	return list
}

// planOf makes the plan of g from the digests of its tensors.
func planOf(g *model.Graph, digest func(*model.Tensor) (uint32, error)) (Plan, error) {
	p := Plan{}
	list := planTensors(g)
	count := map[string]int{}
	for _, x := range list {
		count[x.name]++
	}
	var rest []string
	for _, x := range list {
		d, err := digest(x.tensor)
		if err != nil {
			return nil, fmt.Errorf("quantize: initializer %q: %w", x.name, err)
		}
		if text := fmt.Sprintf("%08x", d); x.tensor.Len() < minPlanned || count[x.name] > 1 || x.name == "" {
			rest = append(rest, x.name+"\x00"+text+"\n")
		} else {
			p[x.name] = text
		}
	}
	slices.Sort(rest) // a tool may order them otherwise
	p[""] = fmt.Sprintf("%08x", crc32.Checksum([]byte(strings.Join(rest, "")), castagnoli()))
	return p, nil
}

// PlanOf returns the plan of g as it is now. It fails where a tensor cannot be read.
func PlanOf(g *model.Graph) (Plan, error) {
	table := castagnoli()
	return planOf(g, func(t *model.Tensor) (uint32, error) {
		b, err := t.Bytes()
		return crc32.Checksum(b, table), err
	})
}

// Record writes the plan of g into its metadata, in the place of one that is there. It belongs right before g is written.
func Record(g *model.Graph) error {
	p, err := PlanOf(g)
	if err != nil {
		return err
	}
	p.set(g)
	return nil
}

// Stored reports whether g holds weights in another form than float32: integers, or half-size floats.
func Stored(g *model.Graph) bool {
	if len(Styles(g)) > 0 {
		return true
	}
	return slices.ContainsFunc(planTensors(g), func(x namedTensor) bool {
		d := x.tensor.DType()
		return d.IsFloat() && d.Bits() < 32 && x.tensor.Len() >= minPlanned
	})
}

// set puts p into the metadata of g and returns its text. The same plan has the same text.
func (p Plan) set(g *model.Graph) string {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // of strings
	}
	if g.Model == nil {
		g.Model = &model.Info{}
	}
	kv := model.KV{Key: PlanKey, Value: string(b)}
	if i := slices.IndexFunc(g.Model.Meta, func(kv model.KV) bool { return kv.Key == PlanKey }); i >= 0 {
		g.Model.Meta[i] = kv
	} else {
		g.Model.Meta = append(g.Model.Meta, kv)
	}
	return kv.Value
}

// ReadPlan returns the plan in the metadata of g, nil where there is none. It fails where there is something else.
func ReadPlan(g *model.Graph) (Plan, error) {
	if g.Model == nil {
		return nil, nil
	}
	for _, kv := range g.Model.Meta {
		if kv.Key != PlanKey {
			continue
		}
		p := Plan{}
		if err := json.Unmarshal([]byte(kv.Value), &p); err != nil {
			return nil, fmt.Errorf("quantize: metadata property %q: %w", PlanKey, err)
		}
		return p, nil
	}
	return nil, nil
}

// digests sums up CRC-32C of tensors whose bytes come in stretches, in any order, each byte once. Stretches of one tensor come
// from one goroutine.
type digests struct {
	table  *crc32.Table
	powers [40]uint32 // x^(8*2^i) modulo the polynomial
	sum    map[*model.Tensor]*uint32
}

func newDigests(g *model.Graph) *digests {
	d := &digests{table: castagnoli(), sum: map[*model.Tensor]*uint32{}}
	d.powers[0] = 1 << 23
	for i := 1; i < len(d.powers); i++ {
		d.powers[i] = modMul(d.powers[i-1], d.powers[i-1])
	}
	for _, x := range planTensors(g) {
		d.sum[x.tensor] = new(uint32)
	}
	return d
}

// modMul multiplies polynomials over GF(2) modulo that of Castagnoli, the coefficient of x^0 in the highest bit.
func modMul(a, b uint32) uint32 {
	var p uint32
	for ; a != 0; a <<= 1 {
		if a&(1<<31) != 0 {
			p ^= b
		}
		b = b>>1 ^ crc32.Castagnoli&-(b&1)
	}
	return p
}

// behind returns the remainder crc once n bytes of zeros follow.
func (d *digests) behind(crc uint32, n int64) uint32 {
	for i := 0; n > 0 && crc != 0; i, n = i+1, n>>1 {
		if n&1 != 0 {
			crc = modMul(d.powers[i], crc)
		}
	}
	return crc
}

// add takes the bytes b of t from off on. The remainder of a polynomial is the sum of those of its parts.
func (d *digests) add(t *model.Tensor, b []byte, off int64) {
	if s := d.sum[t]; s != nil && len(b) > 0 {
		*s ^= d.behind(^crc32.Update(^uint32(0), d.table, b), int64(t.ByteSize())-off-int64(len(b)))
	}
}

// of returns the CRC-32C of all bytes of t.
func (d *digests) of(t *model.Tensor) (uint32, error) {
	s := d.sum[t]
	if s == nil {
		return 0, fmt.Errorf("the tensor was not written")
	}
	return ^(*s ^ d.behind(^uint32(0), int64(t.ByteSize()))), nil
}
