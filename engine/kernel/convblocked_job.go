package kernel

import "math"

// blockKind is the family of micro-kernels of a job.
type blockKind int

const (
	blockDense blockKind = iota
	blockDepth           // weights by channel
	blockMax
)

// blockJob is one pass over blocked images on its way through the pool; recycled with its memory.
type blockJob struct {
	kind          blockKind
	n, outs       int // images; blocks of output channels
	w             *PackedConv
	g             Window
	dst, src, res []float32
	px            int // elements of a pixel of src
	xplane        int // elements of a plane of src
	ximage        int // elements of an image of src
	wimage        int // weights of an image, where every image has its own
	tile          blockTile
	act           Activation // left to do after the micro-kernel
	pool          bool       // mean of windows
	includePad    bool
	scale         bool // weights by plane

	isa        ISA
	rows, cols []blockClass
	taps       []blockTap
	runs       []blockRun // by row class and column class
	byRows     bool       // regions are output rows; else columns of the only one
	regions    int        // per image
	region     int        // rows or columns in one
	units      int        // pairs of output blocks in one task
	unitTasks  int
	task       func(int)
}

func newBlockJob(g *Window) *blockJob {
	j := blockJobs.Get().(*blockJob)
	*j = blockJob{g: *g, isa: Active(), rows: j.rows[:0], cols: j.cols[:0], taps: j.taps[:0], runs: j.runs[:0], task: j.task}
	return j
}

// activation sets what the micro-kernel does and what is left.
func (j *blockJob) activation(ep BlockEpilogue) {
	t := &j.tile
	t.lim[4] = 1
	switch ep.Act {
	case ActNone:
	case ActRelu:
		t.act, t.lim[0], t.lim[1] = blockActClamp, 0, float32(math.Inf(1))
	case ActClip6:
		t.act, t.lim[0], t.lim[1] = blockActClamp, 0, 6
	case ActHardSwish:
		t.act, t.lim[0], t.lim[1] = blockActHardSwish, 1.0/6, 0.5
	case ActHardSigmoid:
		t.act, t.lim[0], t.lim[1] = blockActHardSigmoid, ep.Alpha, ep.Beta
	default:
		j.act = ep.Act
	}
}

// maxPixels is the number of pixels that a micro-kernel takes at most.
func (j *blockJob) maxPixels() int {
	switch {
	case j.kind == blockMax, j.isa.hasAVX2() && !j.isa.hasAVX512():
		return 6
	}
	return densePixels
}

// densePixels is the number of pixels that a dense micro-kernel takes at most on any instruction set.
const densePixels = 12

// smallPlane is the number of pixels up to which all planes of a job are taken together, piece by piece.
const smallPlane = 256

// fewPixels is the number of pixels up to which four blocks are computed together, as reading the weights is the work.
const fewPixels = 3

// maxBlocks is the number of output blocks that are computed together at most.
func (j *blockJob) maxBlocks() int {
	if j.kind != blockDense && j.outs > 1 && j.g.OH*j.g.OW <= smallPlane {
		return 16
	}
	if j.kind == blockDense && j.isa.hasAVX512() {
		if j.g.OH*j.g.OW <= fewPixels {
			return 4
		}
		return 2
	}
	return 1
}

// run checks the slices, cuts the work into tasks and does them.
func (j *blockJob) run(p *Pool) {
	g, t := &j.g, &j.tile
	out := g.OH * g.OW * ChannelBlock
	if len(j.src) < j.n*j.ximage || len(j.dst) < j.n*j.outs*out || j.res != nil && len(j.res) < j.n*j.outs*out {
		panic(badShapeLen)
	}
	if j.n > 0 && j.outs > 0 && out > 0 {
		if g.pointwise() { // one row
			g.W, g.H, g.OW, g.OH = g.H*g.W, 1, g.OH*g.OW, 1
		}
		t.x, t.y, t.res = j.src, j.dst, j.res
		if len(t.x) == 0 { // no input at all: taps are empty
			t.x = blockZeros[:]
		}
		j.geometry()
		p.Run(j.cut(p.Threads()), j.task)
	}
	j.w, j.dst, j.src, j.res, j.tile = nil, nil, nil, nil, blockTile{}
	blockJobs.Put(j)
}

// Sizes of work.
const (
	blockForkMACs = 1 << 20   // multiply-adds below which a pass stays in one thread: some 30 us of one core
	blockForkTaps = 1 << 18   // the same where channels are independent
	blockInput    = 128 << 10 // elements of input that one region may read: they stay in the L2 cache
	blockDepthPix = 64 << 10  // the same in pixels, where channels are independent
	blockShared   = 6         // weights for each element of the input that threads may all read
	blockChain    = 192       // terms of a chain, unless a block of input channels has more: 12 KiB of weights of each block of output channels
)

// inputBlocks is the number of blocks of input channels that a pass of a dense job adds, as one chain: few enough that their weights stay in
// the L1 cache, and that a sum of many equal terms does not drift. It is the same on every instruction set, as it is part of the order of additions.
func (w *PackedConv) inputBlocks() int {
	if w.Plain {
		return w.blocks
	}
	few := max(1, blockChain*ChannelBlock/w.wicb)
	return ceilDiv(w.blocks, ceilDiv(w.blocks, few)) // passes of one size
}

// cut divides the images into regions and returns the number of tasks.
func (j *blockJob) cut(threads int) int {
	g := &j.g
	work := j.outs * g.OH * g.OW * ChannelBlock * g.KH * g.KW
	pixels, least := blockDepthPix, blockForkTaps
	if j.kind == blockDense {
		least = blockForkMACs
		work *= j.w.Cin
		pixels = max(64, blockInput/max(1, j.w.Cin*g.SH*g.SW))
	}
	if j.n*work < least {
		threads = 1
	}
	all := g.OH
	if j.byRows = g.OH > 1; j.byRows {
		pixels = max(1, pixels/g.OW)
	} else {
		all = g.OW
		pixels = ceilDiv(pixels, 12) * 12
	}
	units := ceilDiv(j.outs, j.maxBlocks())
	if j.w != nil && j.w.Groups > 1 && j.kind == blockDense {
		units = j.w.Groups * ceilDiv(j.outs/j.w.Groups, j.maxBlocks())
	}
	j.region = min(all, pixels)
	j.regions = ceilDiv(all, j.region)
	if threads > 1 && j.n%threads != 0 && j.byPixels() {
		j.regions = min(all, ceilDiv(j.regions, threads)*threads)
	}
	j.region = ceilDiv(all, j.regions)
	j.units, j.unitTasks = units, 1
	if threads > 1 {
		if want := 4 * threads; j.n*j.regions < want {
			j.unitTasks = min(units, ceilDiv(want, j.n*j.regions))
			j.units = ceilDiv(units, j.unitTasks)
			j.unitTasks = ceilDiv(units, j.units)
		}
	}
	return j.n * j.regions * j.unitTasks
}

// byPixels tells whether each thread shall have pixels of its own rather than output channels: then the pixels that it wrote in one pass are
// those that it reads in the next. Between two cores of a Zen 3, lines that the other one wrote come at some 1.6 GB/s, a small part of the
// speed of weights that both read, so it pays as long as there are not many more weights than pixels.
func (j *blockJob) byPixels() bool {
	g := &j.g
	return j.kind != blockDense || j.outs*ChannelBlock*g.KH*g.KW <= blockShared*g.H*g.W
}

// doTask computes some output blocks of a region of an image.
func (j *blockJob) doTask(task int) {
	ut := task % j.unitTasks
	region := task / j.unitTasks % j.regions
	image := task / j.unitTasks / j.regions
	lo, hi := region*j.region, region*j.region+j.region
	area := [4]int{0, j.g.OH, lo, min(hi, j.g.OW)}
	if j.byRows {
		area = [4]int{lo, min(hi, j.g.OH), 0, j.g.OW}
	}
	if area[0] >= area[1] || area[2] >= area[3] {
		return
	}
	t := j.tile
	most := j.maxBlocks()
	if j.w != nil && j.w.half != nil {
		n := most * j.w.wocb
		if j.kind == blockDense {
			n = most * j.w.inputBlocks() * j.w.wicb
		}
		s := getScratchF32(n)
		defer scratchPoolF32.Put(s)
		t.w = s.f
	}
	perGroup, groups := j.outs, 1
	if j.kind == blockDense && j.w.Groups > 1 {
		perGroup, groups = j.outs/j.w.Groups, j.w.Groups
	}
	pairs := ceilDiv(perGroup, most)
	for u := ut * j.units; u < min((ut+1)*j.units, pairs*groups); u++ {
		at := u % pairs * most
		b := min(most, perGroup-at)
		first := u/pairs*perGroup + at
		if b == 3 && j.kind == blockDense { // there is no such micro-kernel
			j.unit(&t, image, u/pairs, first+2, 1, area)
			b = 2
		}
		j.unit(&t, image, u/pairs, first, b, area)
	}
}

// unit computes b blocks of output channels from block ob on.
func (j *blockJob) unit(t *blockTile, image, group, ob, b int, area [4]int) {
	out := j.g.OH * j.g.OW * ChannelBlock
	y := (image*j.outs + ob) * out
	t.yocb = out
	x := image * j.ximage
	if j.kind != blockDense {
		x += ob * j.xplane
		t.b0, t.wl, t.bl = 0, 0, 0
		switch {
		case j.scale:
			t.w0 = image * ChannelBlock
		case j.w != nil:
			t.w0, t.bias = ob*j.w.wocb, j.w.bias[ob*ChannelBlock:]
			if j.w.half != nil {
				for v := range b {
					j.w.widen(t.w[v*j.w.wocb:], ob+v, t.w0+v*j.w.wocb, j.w.wocb)
				}
				t.w0 = 0
			}
			if b > 1 {
				t.wl, t.bl = j.w.wocb, ChannelBlock
			}
		}
		j.area(t, x, y, b, area)
	} else {
		w := j.w
		t.wicb, t.wocb, t.xicb = w.wicb, w.wocb, j.xplane
		x += group * w.blocks * j.xplane
		t.w0 = image*j.wimage + ob*w.wocb
		t.bias = w.bias[ob*ChannelBlock:]
		few, first, at := w.inputBlocks(), t.w0, t.w0
		pixels := (area[1] - area[0]) * (area[3] - area[2])
		for i := 0; i < w.blocks; i += few {
			t.nicb = min(few, w.blocks-i)
			t.kfull, t.klast, t.more = w.step, w.step, 0
			if i+few < w.blocks {
				t.more = 1
			} else if !w.Plain {
				t.klast = w.Cin - (w.blocks-1)*w.step
			}
			t.ahead, t.fetch = t.w0+t.nicb*w.wicb, 0
			if i+few >= w.blocks { // the next blocks of output channels
				t.ahead = first + b*w.wocb
			}
			if w.half != nil {
				t.w0, t.wocb = 0, t.nicb*w.wicb
				for v := range b {
					w.widen(t.w[v*t.wocb:], ob+v, at+v*w.wocb, t.wocb)
				}
			} else if tiles := pixels / j.maxPixels(); tiles > 0 { // else nearly all of the work is reading weights in order, which the processor foresees
				t.fetch = ceilDiv(t.nicb*w.wicb, ChannelBlock*tiles)
			}
			j.area(t, x+i*j.xplane, y, b, area)
			at += few * w.wicb
			t.w0, t.bias = at, nil
		}
	}
	if j.act == ActNone {
		return
	}
	from := (area[0]*j.g.OW + area[2]) * ChannelBlock
	to := ((area[1]-1)*j.g.OW + area[3]) * ChannelBlock
	for v := range b {
		activate(j.act, j.dst[y+v*out+from:y+v*out+to])
	}
}

// area computes the pixels area of the output at y, from the input at x, class by class.
func (j *blockJob) area(t *blockTile, x, y, b int, area [4]int) {
	for ri, r := range j.rows {
		top, bottom := max(r.lo, area[0]), min(r.hi, area[1])
		if top >= bottom {
			continue
		}
		for ci, c := range j.cols {
			left, right := max(c.lo, area[2]), min(c.hi, area[3])
			if left >= right {
				continue
			}
			run := j.runs[ri*len(j.cols)+ci]
			t.taps = j.taps[run.lo:run.hi]
			if len(t.taps) == 0 {
				t.taps = nil
			}
			if j.px == 1 {
				t.kfull, t.klast = run.k, run.k
			}
			if j.pool {
				n := len(t.taps)
				if j.includePad {
					n = r.count * c.count
				}
				t.lim[0] = float32(max(n, 1))
			}
			j.rect(t, x, y, b, [4]int{top, bottom, left, right})
		}
	}
}

// rect computes outputs of one class, along rows or along columns, whichever takes fewer pieces.
func (j *blockJob) rect(t *blockTile, x, y, b int, a [4]int) {
	g := &j.g
	most := j.maxPixels()
	n, length := a[1]-a[0], a[3]-a[2] // lines, and their pixels
	lineX, lineY := g.SH*g.W*j.px, g.OW*ChannelBlock
	t.xs, t.ys = g.SW*j.px, ChannelBlock
	if length*ceilDiv(n, most) < n*ceilDiv(length, most) {
		n, length = length, n
		t.xs, t.ys, lineX, lineY = lineX, lineY, t.xs, t.ys
	}
	x += ((a[0]*g.SH-g.Top)*g.W + a[2]*g.SW - g.Left) * j.px
	y += (a[0]*g.OW + a[2]) * ChannelBlock
	pieces := ceilDiv(length, most)
	p, longer := length/pieces, length%pieces // the first pieces are one longer
	if j.kind != blockDense && b > 1 {
		ws, bs, w0 := t.wl, t.bl, t.w0
		if n*pieces < 3 { // all planes of a piece
			for i := range n {
				xi, yi := x+i*lineX, y+i*lineY
				for k := range pieces {
					q := p
					if k < longer {
						q++
					}
					t.x0, t.y0, t.w0, t.b0, t.lines, t.xl, t.yl = xi, yi, w0, 0, b, j.xplane, t.yocb
					j.call(t, q, 1)
					xi, yi = xi+q*t.xs, yi+q*t.ys
				}
			}
		} else {
			t.wl, t.bl = 0, 0
			for v := range b {
				t.w0, t.b0 = w0+v*ws, v*bs
				j.lines(t, x+v*j.xplane, y+v*t.yocb, 1, n, length, lineX, lineY)
			}
		}
		t.wl, t.bl, t.w0, t.b0 = ws, bs, w0, 0
		return
	}
	j.lines(t, x, y, b, n, length, lineX, lineY)
}

// lines computes n lines of length pixels.
func (j *blockJob) lines(t *blockTile, x, y, b, n, length, lineX, lineY int) {
	pieces := ceilDiv(length, j.maxPixels())
	p, longer := length/pieces, length%pieces
	if pieces < 4 { // all lines of a piece
		for k := range pieces {
			q := p
			if k < longer {
				q++
			}
			t.x0, t.y0, t.lines, t.xl, t.yl = x, y, n, lineX, lineY
			j.call(t, q, b)
			x, y = x+q*t.xs, y+q*t.ys
		}
		return
	}
	for i := range n { // all pieces of a line
		t.x0, t.y0, t.lines, t.xl, t.yl = x+i*lineX, y+i*lineY, longer, (p+1)*t.xs, (p+1)*t.ys
		if longer > 0 {
			j.call(t, p+1, b)
		}
		done := longer * (p + 1)
		t.x0, t.y0, t.lines, t.xl, t.yl = x+i*lineX+done*t.xs, y+i*lineY+done*t.ys, pieces-longer, p*t.xs, p*t.ys
		j.call(t, p, b)
	}
}
